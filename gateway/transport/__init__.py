"""The listeners: gRPC and HTTP, TLS, connection limits."""
