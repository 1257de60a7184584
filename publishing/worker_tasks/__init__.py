"""Worker tasks: everything that runs a model apart from a gateway, such as before its approval."""
