"""The listeners: gRPC and HTTP, TLS, connection limits."""

from gateway.transport.bursts import BurstServer
from gateway.transport.connections import NotingAuthenticator
from gateway.transport.grpc_listeners import GrpcTransport
from gateway.transport.http.http_listeners import HttpListeners
from gateway.transport.tls import ServerTls

__all__ = [
    "BurstServer",
    "GrpcTransport",
    "HttpListeners",
    "NotingAuthenticator",
    "ServerTls",
]
