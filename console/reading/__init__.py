"""Reads from the gateway in a person's name, and verifies what is shown."""
