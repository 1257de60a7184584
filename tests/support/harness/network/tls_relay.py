"""A proxy that terminates TLS between a client and a gateway, and may change what it passes on.

It passes the caller's token on, as such proxies do. A test sets what it does to ModelInfer.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import grpc

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.setup.credentials import CertificateAuthority
from tests.support.harness.gateway import GatewayHarness

INFER = "/inference.GRPCInferenceService/ModelInfer"


class TlsRelay(grpc.GenericRpcHandler):
    """`ask` changes a request before it is passed on; `answer` may exchange the response.

    `calls` are the requests for inference as they came, and `answers` what was answered. Refusals
    are passed on with their details and receipt.
    """

    def __init__(self, harness: GatewayHarness) -> None:
        self.ask: Callable[[oip.ModelInferRequest], None] = lambda request: None
        self.answer: Callable[[oip.ModelInferResponse], oip.ModelInferResponse] = lambda a: a
        self.calls: list[oip.ModelInferRequest] = []
        self.answers: list[oip.ModelInferResponse] = []
        profile = harness.profile("client")
        credentials = grpc.ssl_channel_credentials(profile.server_authority.read_bytes())
        self._channel = grpc.secure_channel(profile.endpoint, credentials)
        authority = CertificateAuthority("relay", datetime.now(UTC), timedelta(days=1))
        server = authority.server("localhost", ("localhost", "127.0.0.1"))
        self.authority = authority.pem
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self])
        pair = ((server.key, server.certificate),)
        port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
        self.endpoint = f"https://localhost:{port}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = handler_call_details.method

        def passed_on(message: bytes, context: grpc.ServicerContext) -> bytes:
            return self._pass_on(method, message, context)

        return grpc.unary_unary_rpc_method_handler(passed_on)

    def _pass_on(self, method: str, message: bytes, context: grpc.ServicerContext) -> bytes:
        if method == INFER:
            request = oip.ModelInferRequest.FromString(message)
            self.calls.append(oip.ModelInferRequest.FromString(message))
            self.ask(request)
            message = request.SerializeToString()
        token = [item for item in context.invocation_metadata() if item[0] == "authorization"]
        try:
            answered = self._channel.unary_unary(method)(message, metadata=token, timeout=60)
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), error.details())
        if method == INFER:
            self.answers.append(oip.ModelInferResponse.FromString(answered))
            answered = self.answer(oip.ModelInferResponse.FromString(answered)).SerializeToString()
        return bytes(answered)


@contextmanager
def tls_relay_to(harness: GatewayHarness) -> Iterator[TlsRelay]:
    relay = TlsRelay(harness)
    try:
        yield relay
    finally:
        relay.close()
