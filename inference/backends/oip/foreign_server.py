"""Connection to a third-party Open Inference Protocol server over gRPC, and its settings.

Loads versions whose answers come from a third-party Open Inference Protocol server. All files of a
version are read and verified here. Screening also runs here, with the version's own response graph
and detector; only the answers come from the server. Before the version serves, the server must give
the version's golden answers. That comparison, and no digest, ties the server's model to the signed
bytes.
"""

import itertools
import logging
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from inference.backends.load_limit import LoadLimit
from inference.backends.trial_load import TrialLoad
from inference.batching import NO_BOUNDS, OperatorBounds
from inference.engine import (
    FileSource,
    ReadyVersion,
    ServableVersion,
    ServingTarget,
    VerifiedPointer,
    read_files,
)
from inference.engine.version_contents import GOLDEN, MODEL
from inference.model.config import ModelConfig
from inference.model.golden import Golden
from inference.runtime.machine import with_bounded_arena
from inference.runtime.settings import ON_CPU, CpuSettings, RunSettings
from sealgate.files import read_regular_file
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.connection import CHANNEL_OPTIONS
from sealgate.settings import ConfigError, check_host_port, is_loopback
from sealgate.tensors import Tensor, write_inputs

_FIELDS = frozenset({"model", "version"})


@dataclass(frozen=True, slots=True)
class OipSettings:
    """A server of the Open Inference Protocol that runs the models, such as Triton or MLServer."""

    address: str = ""
    """The server's gRPC address, host:port."""
    name: str = "foreign"
    """Its name in logs and metadata."""
    authority: Path | None = None
    """The authority that signs the server's certificate (PEM). Needed beyond loopback."""
    certificate: Path | None = None
    """The certificate of this gateway, for mutual TLS (PEM)."""
    key: Path | None = None
    """The private key of the gateway's certificate (PEM)."""
    model: str = "{model}"
    """The server's name for a model: text in which `{model}` and `{version}` stand for ours."""
    version: str = "{version}"
    """The server's name for a version, likewise; empty: none is asked for."""
    tolerance: float = 1e-5
    """The allowed deviation of golden answers, absolute and relative."""
    timeout: float = 10.0
    """Seconds for a call."""
    lanes: int = 4
    """Batches in flight at once."""

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
        if self.address:
            check_host_port(f"[foreign_engine] {self.address!r}", self.address, any_host=True)
        if self.address and not self.authority and not is_loopback(self.address):
            raise ConfigError(
                f"[foreign_engine] {self.address} is not this machine: give authority, for TLS"
            )

    def named(self, model: str, version: int) -> tuple[str, str]:
        """The server's names of this model and version."""
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


Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class OipCaller(Protocol):
    """Sends a model's requests to its server."""

    def infer(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        """Raises: ENGINE_UNAVAILABLE."""
        ...


class OipModel:
    """Answers like the INT8 graph, by asking the server. Safe for many threads."""

    def __init__(
        self,
        server: OipCaller,
        named: tuple[str, str],
        config: ModelConfig,
        golden: Golden,
        tolerance: float,
    ) -> None:
        """`named` is the server's name for the model, and for its version or nothing."""
        self._server = server
        self._name, self._version = named
        self._config = config
        self._golden = golden
        self._tolerance = tolerance
        self._turn = itertools.count()

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The logits [n, C] of the rows [n, …] in `feeds`.

        Raises: ENGINE_UNAVAILABLE; ANSWER_MALFORMED for another name, type or shape, or where a
        logit is not finite; GOLDEN_MISMATCH.
        """
        x = feeds[self._config.input.name]
        if len(x) >= self._config.batching.max_rows:
            return [self._ask(x)]
        turn = next(self._turn) % len(self._golden.x)
        expected = Golden(self._golden.x[turn : turn + 1], self._golden.logits[turn : turn + 1])
        logits = self._ask(np.concatenate([x, expected.x]))
        expected.check(logits[len(x) :], self._tolerance)
        return [logits[: len(x)]]

    def _ask(self, x: Array) -> Floats:
        request = oip.ModelInferRequest(model_name=self._name, model_version=self._version)
        write_inputs(request, [Tensor.of(self._config.input.name, x)])
        request.outputs.add(name=self._config.output.name)
        response = self._server.infer(request)
        told = response.model_version
        if response.model_name != self._name or (told and self._version not in ("", told)):
            raise _malformed("it is of another model or version")
        return _read(response, self._config.output.name, (len(x), *self._config.output.row))


def _read(response: oip.ModelInferResponse, name: str, shape: tuple[int, ...]) -> Floats:
    """The output of that name, raw or typed; other outputs are ignored."""
    places = [at for at, output in enumerate(response.outputs) if output.name == name]
    if len(places) != 1:
        raise _malformed("the answer lacks the model's output")
    output, raws = response.outputs[places[0]], response.raw_output_contents
    if output.datatype != "FP32" or tuple(output.shape) != shape:
        raise _malformed("its output has another type or shape")
    if raws:
        raw = raws[places[0]] if len(raws) == len(response.outputs) else b""
    else:
        raw = np.array(output.contents.fp32_contents, "<f4").tobytes()
    if len(raw) != 4 * shape[0] * shape[1]:
        raise _malformed("its output has another size")
    logits = np.frombuffer(raw, "<f4").reshape(shape)
    if not np.isfinite(logits).all():
        raise _malformed("a logit is not finite")
    return logits


def _malformed(detail: str) -> SealgateError:
    return SealgateError(Reason.ANSWER_MALFORMED, detail)


_log = logging.getLogger(__name__)


class OipLoader:
    """A `VersionLoader` for versions that a third-party server runs."""

    def __init__(
        self,
        settings: OipSettings,
        cpu: CpuSettings,
        bounds: OperatorBounds = NO_BOUNDS,
        trial: TrialLoad | None = None,
    ) -> None:
        """`bounds` tighten how versions are batched; `trial` is as for `LocalLoader`: response
        graphs run here. Raises: ConfigError.
        """
        self._bounds = bounds
        self._settings = settings
        self._cpu = cpu
        self._server = OipServer(settings)
        self._limit: LoadLimit[ReadyVersion] = LoadLimit(trial=trial)
        self._running = RunSettings(with_bounded_arena(ON_CPU))
        self._place = f'foreign "{settings.name}", digest not checked there'

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises SealgateError as `LocalLoader.load` does, and:
        ENGINE_UNAVAILABLE if the server is unreachable or does not serve the version yet;
        ANSWER_MALFORMED; GOLDEN_MISMATCH; ENGINE_UNSUITABLE for a text model.
        """
        if loaded is not None:
            return loaded
        pointer, settings = cleared.pointer, self._settings
        named = settings.named(pointer.model, pointer.version)
        # Asked each second while the server is away: before anything is read.
        self._server.check_ready(*named)
        files = read_files(cleared.manifest, source)
        signed = ModelConfig.decode(files[MODEL])
        config = replace(signed, batching=self._bounds.tighten(signed.name, signed.batching))
        if config.tokens is not None:
            # Which texts share a batch there, and how they are filled up, cannot be seen from here.
            raise SealgateError(
                Reason.ENGINE_UNSUITABLE, "a third-party server cannot run text models"
            )
        golden = Golden.decode(files[GOLDEN], config)
        model = OipModel(self._server, named, config, golden, settings.tolerance)
        off = settings.tolerance
        serving = ServingTarget(
            model, settings.lanes, self._place, tolerance=off, company=off, arithmetic=""
        )

        def made(files: Mapping[str, bytes]) -> ReadyVersion:
            return ReadyVersion.build(
                pointer.digest, files, self._cpu, serving, self._bounds, self._running
            )

        ready = self._limit.load(pointer.digest, files, made)
        _log.warning(
            "%s version %d, %s, runs as %r %r in %s: its golden answers come out within %g",
            *(pointer.model, pointer.version, pointer.digest, *named),
            *(self._place, settings.tolerance),
        )
        return ready

    def close(self) -> None:
        self._server.close()


def open_oip(
    settings: OipSettings,
    cpu: CpuSettings,
    bounds: OperatorBounds = NO_BOUNDS,
    trial: TrialLoad | None = None,
) -> OipLoader | None:
    """The loader that the configuration names, if it names one. Raises: ConfigError."""
    return OipLoader(settings, cpu, bounds, trial) if settings.address else None
