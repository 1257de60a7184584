"""The gateway: a gRPC and HTTP server in front of the inference engine."""
