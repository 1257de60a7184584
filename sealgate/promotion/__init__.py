"""Promotions as people meet them: proposals, what is signed about them, and the inventory."""
