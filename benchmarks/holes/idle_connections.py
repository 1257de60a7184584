"""How long honest callers wait while 1,000 connections without a credential are open.

A real `sealgate serve` process; the idle connections come from a process of their own, honest
calls from this one, each over a new connection, and some over one that stays. Each kind of idle
connection is measured once as it is, and once with each opened anew that the gateway closes.
"""

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPSConnection
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from benchmarks import governed
from benchmarks.report import Target
from demo.materials import test_rows
from demo.questions import question
from demo.stage import Stage, free_ports
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import Access, access_of, connect

KINDS = {
    "grpc": ("tcp", "tls", "preface"),
    "http": ("tcp", "http-tls", "half-request"),
}
_LONGEST_SECONDS = 1.0
_PATIENCE = 30.0
_PAUSE = 0.05
# Or connections to the same address are shared.
_OWN = [("grpc.use_local_subchannel_pool", 1)]


def measure(count: int = 1_000, seconds: float = 8.0) -> list[dict[str, Any]]:
    """A row for each listener, kind and whether they come again: the longest honest answer in
    seconds, over new connections and over one that stays.
    """
    rows = []
    with TemporaryDirectory() as folder, _gateway(Path(folder)) as (stage, ports):
        for listener, kinds in KINDS.items():
            ask = _grpc_asker(stage) if listener == "grpc" else _http_asker(stage, ports["http"])
            for kind, again in product(kinds, (False, True)):
                with _held(kind, ports[listener], count, again):
                    longest = _longest(ask, stage, seconds)
                row = {"listener": listener, "kind": kind, "connections": count}
                rows.append({**row, "come_again": again, **longest})
                print(rows[-1], flush=True)
    return rows


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    """The worst of all kinds."""
    idle = max(row["new_connection"] for row in rows if not row["come_again"])
    again = max(row["new_connection"] for row in rows if row["come_again"])
    return [
        Target("longest honest answer beside 1,000 idle connections, s", idle, _LONGEST_SECONDS),
        Target("the same where each comes again once it is ended, s", again, _LONGEST_SECONDS),
    ]


def _longest(ask: Callable[[], None], stage: Stage, seconds: float) -> dict[str, float]:
    """Of answers over new connections and over one that stays, and how many there were."""
    new, kept, end = [], [], time.monotonic() + seconds
    with connect(stage.profile("client")) as channel:
        stub = GRPCInferenceServiceStub(channel)
        request = question("digits", test_rows("digits")[:1])
        while time.monotonic() < end:
            new.append(_timed(ask))
            kept.append(_timed(lambda: stub.ModelInfer(request, timeout=_PATIENCE)))
            time.sleep(_PAUSE)
    return {"new_connection": max(new), "kept_connection": max(kept), "answers": len(new)}


def _timed(ask: Callable[[], Any]) -> float:
    begun = time.monotonic()
    while True:
        try:
            ask()
        except (grpc.RpcError, OSError, HTTPException):
            # An honest caller tries again; its waiting goes on.
            if time.monotonic() - begun > _PATIENCE:
                return float("inf")
            continue
        return time.monotonic() - begun


def _grpc_asker(stage: Stage) -> Callable[[], None]:
    access: Access = access_of(stage.profile("client"))
    request = question("digits", test_rows("digits")[:1])

    def ask() -> None:
        with grpc.secure_channel(access.endpoint, access.credentials(), _OWN) as channel:
            GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=_PATIENCE)

    return ask


def _http_asker(stage: Stage, port: int) -> Callable[[], None]:
    profile = stage.profile("client")
    context = ssl.create_default_context(cafile=str(profile.server_authority))
    token = access_of(profile).token
    headers = {"authorization": f"Bearer {token}"}
    rows = test_rows("digits")[:1]
    tensor = {"name": "x", "datatype": "FP32", "shape": list(rows.shape)}
    body = json.dumps({"inputs": [tensor | {"data": rows.ravel().tolist()}]})

    def ask() -> None:
        connection = HTTPSConnection("127.0.0.1", port, timeout=_PATIENCE, context=context)
        try:
            connection.request("POST", "/v2/models/digits/infer", body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise HTTPException(answer[:200])
        finally:
            connection.close()

    return ask


@contextmanager
def _held(kind: str, port: int, count: int, again: bool) -> Iterator[None]:
    words = [kind, str(port), str(count), *(["again"] if again else [])]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.harness.processes.idle_connections", *words],
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            if holder.stdout is None or holder.stdout.readline() != b"ready\n":
                raise RuntimeError("the idle connections could not be opened")
            yield
        finally:
            holder.terminate()


@contextmanager
def _gateway(folder: Path) -> Iterator[tuple[Stage, dict[str, int]]]:
    stage = Stage(folder / "state")
    stage.console.quiet = True
    port, http = free_ports(), free_ports()
    stage.command("init", "--unencrypted-keys", "--port", str(port))
    with (stage.state / "gateway.toml").open("a") as file:
        file.write(f'\n[http]\ntls = "127.0.0.1:{http}"\n')
    with governed.started(stage):
        governed.promote(stage)
        ask = _grpc_asker(stage)
        with suppress(grpc.RpcError):
            ask()
        yield stage, {"grpc": port, "http": http}
