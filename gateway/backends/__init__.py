"""Backends that run versions: in this process, in other processes, on foreign servers."""
