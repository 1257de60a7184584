"""The `sealgate` command: its groups and commands."""

import os

# gRPC's core writes lines of its own to stderr, such as about handshakes that fail; it asks for
# this when it is loaded. The caller or our own log is told of any error of a call.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
