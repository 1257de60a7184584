"""Cosigning of this gateway's logs by witnesses: checkpoints go out, cosignatures are kept."""
