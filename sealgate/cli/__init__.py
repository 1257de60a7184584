"""The `sealgate` command: its groups and commands."""

import os

# gRPC's core writes lines of its own to stderr, such as about handshakes that fail; it asks for
# this when it is loaded. What matters of a call, its caller is told or our own log says.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
