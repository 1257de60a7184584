"""Proposals, approvals, pointers and revocations."""
