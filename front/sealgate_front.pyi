"""TLS, HTTP/2 and gRPC framing off the interpreter; hands Python bursts of calls."""

__version__: str
