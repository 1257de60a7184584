"""Starts the server and the clients of a recipe as processes, each with a private folder.

The server's folder holds no rows, and a client's folder holds only its own. Keys are made for the
run and removed with it. Flower's home is placed there too, with telemetry and update checks off.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from safetensors.numpy import save

from sealgate.reasons import Reason, SealgateError
from sealgate.setup.credentials import CertificateAuthority
from training.data.run_data import Weights, read_weights, write_weights, write_whole

SERVER = ("-m", "training.federated.server")
NODES = ("-m", "training.federated.node")
_LOOPBACK, _LIFETIME = "127.0.0.1", timedelta(days=1)
_PAUSE = 0.05
_TOLD = 300


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One client's rows x [n, ...] with classes y [n], and the seed that orders them."""

    x: np.ndarray
    y: np.ndarray
    seed: int


class ProcessFolders:
    """What server and clients need at start, under one folder of mode 0700."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.server = run / "server"
        self.rounds = self.server / "rounds"

    def lay_out(
        self, recipe: bytes, weights: Weights, shards: Sequence[Shard], classes: int
    ) -> None:
        """Write everything but the server's address. Raises STORAGE_FULL."""
        self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = CertificateAuthority("sealgate federate", datetime.now(UTC), _LIFETIME)
        own = authority.server("server", (_LOOPBACK,))
        write_whole(self.server / "recipe.toml", recipe)
        write_whole(self.server / "server.pem", own.certificate)
        write_whole(self.server / "key.pem", own.key)
        write_weights(self.server / "weights.safetensors", weights)
        for at, shard in enumerate(shards):
            folder, key = self.client(at), ec.generate_private_key(ec.SECP384R1())
            write_whole(folder / "recipe.toml", recipe)
            write_whole(folder / "server.pem", authority.pem)
            write_whole(folder / "key.pem", _private(key))
            rows = {"x": np.ascontiguousarray(shard.x), "y": np.ascontiguousarray(shard.y)}
            write_whole(folder / "shard.safetensors", save(rows))
            told = {"classes": classes, "seed": shard.seed}
            write_whole(folder / "address.json", json.dumps(told).encode())
            write_whole(self.server / "clients" / f"{at:03d}.pem", _public(key))

    def client(self, at: int) -> Path:
        return self.run / f"client-{at:03d}"

    def clients(self) -> list[Path]:
        return sorted(self.run.glob("client-*"))

    def point_clients_to(self, address: str) -> None:
        for folder in self.clients():
            place = folder / "address.json"
            told = json.loads(place.read_bytes()) | {"address": address}
            write_whole(place, json.dumps(told).encode())

    def finished(self, number: int) -> tuple[Weights, dict[str, Any]] | None:
        """The weights after a round and who was summed with whom, once it is over."""
        told = self.rounds / f"{number:03d}.json"
        if not told.exists():
            return None
        return read_weights(told.with_suffix(".safetensors")), json.loads(told.read_bytes())

    def spent(self) -> dict[str, Any] | None:
        """What the client spent that spent most of its privacy budget."""
        places = [folder / "spent.json" for folder in self.clients()]
        told = [json.loads(place.read_bytes()) for place in places if place.exists()]
        known = [each for each in told if each is not None]
        return max(known, key=lambda each: each["epsilon"], default=None)


class Processes:
    """The processes of one run; all are ended with it."""

    def __init__(
        self, folders: ProcessFolders, nodes: Sequence[str], server: Sequence[str]
    ) -> None:
        self._folders, self._nodes = folders, nodes
        self._server = self._start("server", [*server, str(folders.server)])
        self._all = [self._server]

    def start_clients(self, patience: float) -> None:
        """Once the server listens. Raises what it was refused for, or CLIENTS_TOO_FEW."""
        place, ends = self._folders.server / "address.json", time.monotonic() + patience
        while not place.exists():
            self.look()
            if time.monotonic() > ends:
                raise SealgateError(Reason.CLIENTS_TOO_FEW, "the server does not start")
            time.sleep(_PAUSE)
        self._folders.point_clients_to(json.loads(place.read_bytes())["address"])
        folders = [str(folder) for folder in self._folders.clients()]
        self._all.append(self._start("clients", [*self._nodes, *folders]))

    def wait_for(self, number: int) -> tuple[Weights, dict[str, Any]]:
        """The end of a round. Raises what the server was refused for."""
        while (found := self._folders.finished(number)) is None:
            self.look()
            time.sleep(_PAUSE)
        return found

    def look(self) -> None:
        """Raises the refusal that ended the server, or INTERNAL with the end of its log."""
        if self._server.poll() in (None, 0):
            return
        place = self._folders.server / "refused.json"
        if place.exists():
            told = json.loads(place.read_bytes())
            raise SealgateError(
                Reason.named(told["reason"]), f"{told['detail']}{self._heard('clients')}"
            )
        raise SealgateError(Reason.INTERNAL, f"the server ended{self._heard('server')}")

    def end(self) -> None:
        for process in reversed(self._all):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._folders.run / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *words], stdout=log, stderr=log, env=_environment(self._folders)
            )

    def _heard(self, name: str) -> str:
        log = self._folders.run / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return f"; {name}: {lines[-1][:_TOLD]}" if lines else ""


@contextmanager
def processes(
    folders: ProcessFolders, nodes: Sequence[str] = NODES, server: Sequence[str] = SERVER
) -> Iterator[Processes]:
    """Start a server, and end it and its clients afterwards."""
    started = Processes(folders, nodes, server)
    try:
        yield started
    finally:
        started.end()


def _environment(folders: ProcessFolders) -> Mapping[str, str]:
    return os.environ | {
        "FLWR_HOME": str(folders.run / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_LOG_LEVEL": "WARNING",
        "OMP_NUM_THREADS": "1",
    }


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
