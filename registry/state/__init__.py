"""The registry's state: tables, the events that change them, and the unit of work."""
