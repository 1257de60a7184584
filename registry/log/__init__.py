"""Merkle logs (C2SP tlog-tiles) in database tables: writing, reading, verification."""
