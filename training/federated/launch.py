"""Starts the server and the clients of a recipe as processes, each with a private folder.

The server's folder holds no rows, and a client's folder holds only its own. Keys are made for the
run and removed with it. Flower's home is placed there too, with telemetry and update checks off.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from safetensors.numpy import save

from sealgate.reasons import Reason, SealgateError
from sealgate.setup.credentials import Certificate, CertificateAuthority
from training.data import Weights, read_weights, write_weights, write_whole
from training.federated.enrolment import new_key, public_pem
from training.federated.shards import Shard

SERVER = ("-m", "training.federated.server")
NODES = ("-m", "training.federated.client_process")
TRIED = "fit.safetensors"
_LOOPBACK, _LIFETIME = "127.0.0.1", timedelta(days=1)
_PAUSE = 0.05
_TOLD = 300


class ProcessFolders:
    """The folders of server and clients, under one folder of mode 0700."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.server = run / "server"
        self.rounds = self.server / "rounds"

    def lay_out(
        self, recipe: bytes, weights: Weights, shards: Sequence[Shard], classes: int
    ) -> None:
        """Write everything but the server's address. Raises STORAGE_FULL."""
        authority = CertificateAuthority("sealgate federate", datetime.now(UTC), _LIFETIME)
        self.lay_out_server(recipe, weights, authority.server("server", (_LOOPBACK,)))
        for at, shard in enumerate(shards):
            folder, key = self.client(at), new_key()
            write_whole(folder / "recipe.toml", recipe)
            write_whole(folder / "server.pem", authority.pem)
            write_whole(folder / "key.pem", _private(key))
            write_whole(folder / "shard.safetensors", shard.encode())
            told = {"classes": classes, "seed": shard.seed}
            write_whole(folder / "address.json", json.dumps(told).encode())
            write_whole(self.server / "clients" / f"{at:03d}.pem", public_pem(key).encode())

    def lay_out_server(self, recipe: bytes, weights: Weights, own: Certificate) -> None:
        """Write what the server alone needs. Raises STORAGE_FULL."""
        self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.server / "recipe.toml", recipe)
        write_whole(self.server / "server.pem", own.certificate)
        write_whole(self.server / "key.pem", own.key)
        write_weights(self.server / "weights.safetensors", weights)

    def write_tried(self, rows: Shard, classes: int) -> None:
        """Rows of the server's own, by which it chooses groups. Raises STORAGE_FULL."""
        tensors = {"x": rows.x, "y": rows.y, "classes": np.array([classes])}
        data = save({name: np.ascontiguousarray(each) for name, each in tensors.items()})
        write_whole(self.server / TRIED, data)

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
        """The spent privacy of the client that spent most of its budget."""
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
        """Once the server listens. Raises as `address` does."""
        self._folders.point_clients_to(self.address(patience))
        folders = [str(folder) for folder in self._folders.clients()]
        self._all.append(self._start("clients", [*self._nodes, *folders]))

    def address(self, patience: float) -> str:
        """Where the server listens, host:port, once it does. Raises what it was refused for, or
        CLIENTS_TOO_FEW.
        """
        place, ends = self._folders.server / "address.json", time.monotonic() + patience
        while not place.exists():
            self.look()
            if time.monotonic() > ends:
                raise SealgateError(Reason.CLIENTS_TOO_FEW, "the server does not start")
            time.sleep(_PAUSE)
        return str(json.loads(place.read_bytes())["address"])

    def wait_for(self, number: int) -> tuple[Weights, dict[str, Any]]:
        """The end of a round. Raises what the server was refused for."""
        while (found := self._folders.finished(number)) is None:
            self.look()
            time.sleep(_PAUSE)
        return found

    def wait_for_end(self, patience: float) -> None:
        """Of the server, which tells its clients of the end first."""
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(patience)

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
                [sys.executable, *words],
                stdout=log,
                stderr=log,
                env=os.environ | flower_environment(self._folders.run / "flower"),
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


def flower_environment(home: Path) -> dict[str, str]:
    """Settings of Flower's, which must be there before it is imported: its own folder, and neither
    telemetry nor looking for updates.
    """
    return {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_LOG_LEVEL": "WARNING",
        "OMP_NUM_THREADS": "1",
    }


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
