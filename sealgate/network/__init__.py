"""Bounded connections: how long they take, how many there are, and how much is read from them."""
