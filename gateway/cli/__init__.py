"""The commands on a gateway's machine: serve, back up and restore, artifacts, logs."""
