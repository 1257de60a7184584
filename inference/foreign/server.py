"""One foreign server of the Open Inference Protocol, asked by gRPC."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from inference.foreign.settings import ForeignSettings
from sealgate.files import read_regular_file
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, Refusal
from sealgate.remote import CHANNEL_OPTIONS
from sealgate.settings import ConfigError

_LONGEST_DETAIL = 200


class ForeignServer:
    """A connection to it. Safe for many threads."""

    def __init__(self, settings: ForeignSettings) -> None:
        """Raises: ConfigError where a file of the settings cannot be read."""
        self._timeout = settings.timeout
        self._channel = _open(settings)
        self._stub = GRPCInferenceServiceStub(self._channel)

    def infer(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        """Raises: ENGINE_UNAVAILABLE, whatever the server's reason: its text is for our own log."""
        response: oip.ModelInferResponse = self._call(self._stub.ModelInfer, request)
        return response

    def check_ready(self, model: str, version: str) -> None:
        """Raises: ENGINE_UNAVAILABLE where the server has not that model ready."""
        request = oip.ModelReadyRequest(name=model, version=version)
        if not self._call(self._stub.ModelReady, request).ready:
            raise Refusal(Reason.ENGINE_UNAVAILABLE, f"{model!r} {version!r} is not ready")

    def _call(self, method: Callable[..., Any], request: Message) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            text = f"{error.code().name}: {(error.details() or '')[:_LONGEST_DETAIL]}"
            raise Refusal(Reason.ENGINE_UNAVAILABLE, text) from error
        except ValueError as error:
            raise Refusal(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error

    def close(self) -> None:
        self._channel.close()


def _open(settings: ForeignSettings) -> grpc.Channel:
    if settings.authority is None:
        return grpc.insecure_channel(settings.address, CHANNEL_OPTIONS)
    files = (settings.authority, settings.key, settings.certificate)
    try:
        authority, key, certificate = (read_regular_file(path) if path else None for path in files)
    except OSError as error:
        raise ConfigError(
            f"[foreign_engine] cannot read {error.filename}: {error.strerror}"
        ) from error
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    return grpc.secure_channel(settings.address, credentials, CHANNEL_OPTIONS)
