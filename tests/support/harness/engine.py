"""An inference engine behind a real unix socket, which a test shows what a paper registry holds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from inference.backends.local import LocalLoader
from inference.engine import VersionLoader
from inference.engine.engine import Engine
from inference.engine.trust_state import Place, RollbackGuardFile
from inference.runtime.settings import CpuSettings
from inference.server.config import (
    ArtifactLocation,
    EngineConfig,
    EngineIdentity,
    EngineLimits,
    EngineTrustFiles,
    ListenAddress,
)
from inference.server.host import EngineHost, RunTally
from inference.server.load_request import LoadRequest
from inference.server.server import EngineServer
from inference.server.services import write_load
from registry.storage.artifacts import FolderStore
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import PrivateKey
from sealgate.trust.statements import Manifest, Pointer
from tests.support.fakes.registry import UncheckedRegistry, UncheckedVersion
from tests.support.harness.engine_outcomes import PLACE

INSTANCE = "0" * 32


class EngineHarness:
    """`stub` asks the engine; its artifact store is its own, and `engine` is for a look inside."""

    def __init__(
        self, registry: UncheckedRegistry, folder: Path, limits: EngineLimits | None = None
    ) -> None:
        self.registry = registry
        self.key = PrivateKey.generate()
        self.store = FolderStore(folder / "artifacts")
        self.artifacts = folder / "artifacts"
        self.socket = folder / "engine.sock"
        self.seen = RollbackGuardFile.open(folder / "seen.json")
        self.tally = RunTally("engine", INSTANCE, self.key, registry.clock)
        self.host = self.open_host()
        self.engine = self.host.engine
        config = EngineConfig(
            listen=ListenAddress(socket=self.socket),
            trust=EngineTrustFiles((folder / "root.pem",), 1, folder / "seen.json"),
            artifacts=ArtifactLocation(self.artifacts),
            engine=EngineIdentity("engine", folder / "engine.key"),
            limits=limits or EngineLimits(),
        )
        self.server = EngineServer(config, self.host)
        self.channel = grpc.insecure_channel(f"unix:{self.socket}")
        self.stub = GRPCInferenceServiceStub(self.channel)

    def open_host(self) -> EngineHost:
        """The host behind the socket."""
        return EngineHost(*self.parts(LocalLoader(CpuSettings(1)), self.seen, self.tally))

    def parts(
        self, loader: VersionLoader, seen: RollbackGuardFile, tally: RunTally | None
    ) -> tuple[Any, ...]:
        """The arguments of this harness's `EngineHost`."""
        clock = self.registry.clock
        engine = Engine(self.registry.anchor, seen, clock, loader)
        return engine, seen, self.store, tally, clock, 5.0

    def publish(self, files: dict[str, bytes], model: str = "digits") -> UncheckedVersion:
        for data in files.values():
            self.store.put([data], len(data), sha256(data))
        return self.registry.publish(files, model)

    def path(self, data: bytes) -> Path:
        """Where the store keeps these bytes."""
        name = sha256(data).removeprefix("sha256:")
        return self.artifacts / name[:2] / name[2:]

    def load(self, place: Place = PLACE) -> LoadRequest:
        """The documents that a gateway would show of the registry on paper."""
        registry = self.registry
        bundle = registry.bundles[place]
        signed = registry.signed_manifest(Pointer.decode(bundle.pointer.payload).digest)
        assert registry.freshness is not None
        return LoadRequest(
            place,
            tuple(registry.policies),
            registry.freshness,
            bundle,
            Manifest.decode(signed.manifest),
            signed.signature,
        )

    def show(self, place: Place = PLACE, **changes: object) -> None:
        """Show the engine a pointer, with some of what proves it exchanged."""
        request = write_load(replace(self.load(place), **changes))
        self.stub.RepositoryModelLoad(request, timeout=60)

    def ask(self, version: UncheckedVersion, x: np.ndarray) -> oip.ModelInferResponse:
        request = oip.ModelInferRequest(model_name="digits", model_version=str(version.number))
        request.parameters["digest"].string_param = version.digest
        write_inputs(request, [Tensor.of("x", x)])
        return self.stub.ModelInfer(request, timeout=60)


@contextmanager
def engine_harness(
    registry: UncheckedRegistry, folder: Path, limits: EngineLimits | None = None
) -> Iterator[EngineHarness]:
    with ExitStack() as end:
        harness = EngineHarness(registry, folder, limits)
        end.callback(harness.server.stop)
        end.enter_context(harness.channel)
        harness.server.start()
        yield harness
