"""Engine server: an engine in a process of its own, asked by gateways over gRPC."""
