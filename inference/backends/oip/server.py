"""Connection to a third-party Open Inference Protocol server over gRPC, and its settings."""

import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from sealgate.files import read_regular_file
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.connection import CHANNEL_OPTIONS
from sealgate.settings import ConfigError, is_loopback

_FIELDS = frozenset({"model", "version"})


@dataclass(frozen=True, slots=True)
class OipSettings:
    """Where a server is: its `address` (host:port, gRPC), and its `name` in logs and metadata.

    Without `authority`, which signs the server's certificate, the address must be on loopback.
    `certificate` and `key` are this gateway's own. `model` and `version` say what the server calls
    a version: text in which `{model}` and `{version}` stand for ours; an empty `version` asks for
    none. `tolerance` is the allowed deviation of golden answers, absolute and relative; `timeout`
    is in seconds per call; `lanes` is the number of batches in flight.
    """

    address: str = ""
    name: str = "foreign"
    """What logs and metadata call it."""
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    model: str = "{model}"
    version: str = "{version}"
    tolerance: float = 1e-5
    timeout: float = 10.0
    lanes: int = 4

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("[foreign_engine] certificate and key must be given together")
        if self.certificate and not self.authority:
            raise ConfigError("[foreign_engine] certificate needs authority, the server's own")
        if not 0 <= self.tolerance <= 0.1 or self.timeout <= 0 or not 1 <= self.lanes <= 64:
            raise ConfigError(
                "[foreign_engine] tolerance is 0 to 0.1, timeout positive, lanes 1 to 64"
            )
        if not self.name.isprintable() or not 1 <= len(self.name) <= 64 or '"' in self.name:
            raise ConfigError("[foreign_engine] name is 1 to 64 printable characters")
        for setting in ("model", "version"):
            _check_pattern(setting, getattr(self, setting))
        if self.address and not self.address.rpartition(":")[2].isdigit():
            raise ConfigError(f"[foreign_engine] {self.address!r} is not of the form host:port")
        if self.address and not self.authority and not is_loopback(self.address):
            raise ConfigError(
                f"[foreign_engine] {self.address} is not this machine: give authority, for TLS"
            )

    def named(self, model: str, version: int) -> tuple[str, str]:
        """What the server calls this version: its model's name, and its version's."""
        return (
            self.model.format(model=model, version=version),
            self.version.format(model=model, version=version),
        )


def _check_pattern(setting: str, pattern: str) -> None:
    try:
        parts = [part[1:] for part in string.Formatter().parse(pattern)]
    except ValueError:
        parts = [("", None, None)]
    # Names only, without attributes or formats.
    if any(
        name is not None and (name not in _FIELDS or form or turn) for name, form, turn in parts
    ):
        raise ConfigError(f"[foreign_engine] {setting} may hold {{model}} and {{version}} alone")
    if setting == "model" and not any(name == "model" for name, *_ in parts):
        raise ConfigError("[foreign_engine] model must hold {model}")


_LONGEST_DETAIL = 200


class OipServer:
    """A connection to a server. Safe for many threads."""

    def __init__(self, settings: OipSettings) -> None:
        """Raises: ConfigError where a file of the settings cannot be read."""
        self._timeout = settings.timeout
        self._channel = _open(settings)
        self._stub = GRPCInferenceServiceStub(self._channel)

    def infer(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        """Raises: ENGINE_UNAVAILABLE, whatever the server's reason; its text goes to our log
        only.
        """
        response: oip.ModelInferResponse = self._call(self._stub.ModelInfer, request)
        return response

    def check_ready(self, model: str, version: str) -> None:
        """Raises: ENGINE_UNAVAILABLE if the model is not ready on the server."""
        request = oip.ModelReadyRequest(name=model, version=version)
        if not self._call(self._stub.ModelReady, request).ready:
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, f"{model!r} {version!r} is not ready")

    def _call(self, method: Callable[..., Any], request: Message) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            text = f"{error.code().name}: {(error.details() or '')[:_LONGEST_DETAIL]}"
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, text) from error
        except ValueError as error:
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error

    def close(self) -> None:
        self._channel.close()


def _open(settings: OipSettings) -> grpc.Channel:
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
