"""The measured servers: how each is started, its requests, and the grid of settings for its best.

Each serves the same graph on one thread of one core. A grid is small on purpose: what a user would
turn first. A peer that cannot be installed or started is named in the result, with the reason.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.load import Plan, write_requests
from benchmarks.processes import Server, free_ports
from benchmarks.served import ENVIRONMENTS, Served, missing

Setting = Mapping[str, Any]

_PROGRAMS = Path(__file__).parent / "peers"
_ROOT = Path(__file__).parents[1]
# KServe and MLServer take ports for HTTP and metrics beside the one for gRPC.
_PORTS = 3


def grid(**axes: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """Every combination of the axes' values."""
    return tuple(dict(zip(axes, point, strict=True)) for point in product(*axes.values()))


def batching(**axes: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """The axes with no batching, and with batches of 16 that wait for up to 2 ms."""
    return tuple(
        {**point, "batch": batch, "delay": delay}
        for point in grid(**axes)
        for batch, delay in ((0, 0.0), (16, 0.002))
    )


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that one of `peers/` starts; `environment` is None where it runs in ours. An answer
    of it has `values` numbers, where that is not the model's.
    """

    name: str
    program: str
    environment: str | None
    settings: tuple[Setting, ...]
    requests: Callable[[Served], list[bytes]]
    protocol: str = "grpc"
    path: str = ""
    values: int | None = None

    def python(self) -> Path:
        if self.environment is None:
            return Path(sys.executable)
        return (ENVIRONMENTS / self.environment / "bin" / "python").absolute()

    def why_missing(self) -> str | None:
        return None if self.environment is None else missing(self.environment)

    def start(
        self, served: Served, setting: Setting, core: int, folder: Path
    ) -> "tuple[Server, Plan]":
        """A server that listens, and how the client asks it. Raises: StartFailed."""
        port = free_ports(_PORTS)
        server = Server(
            [
                str(self.python()),
                str(_PROGRAMS / self.program),
                str(served.graph.absolute()),
                str(port),
                json.dumps(setting),
            ],
            core,
            folder / f"{self.name}.log",
            {"PYTHONPATH": str(_ROOT) if self.environment is None else ""},
        )
        requests = folder / f"{self.name}.{served.name}.requests"
        plan = Plan(
            self.protocol,
            f"127.0.0.1:{port}",
            write_requests(requests, self.requests(served)),
            self.values or served.values,
            path=self.path,
        )
        try:
            server.await_port(port)
        except Exception:
            server.stop()
            raise
        return server, plan


BARE = Contender(
    "bare gRPC server",
    "bare_server.py",
    None,
    grid(threads=(1, 8, 64)),
    lambda served: served.protobuf("model"),
)
PLAIN = Contender(
    "Sealgate plain",
    "plain_server.py",
    None,
    grid(threads=(64,), batch=(8, 16, 32)),
    lambda served: served.protobuf("model"),
)
PEERS = (
    Contender(
        "MLServer",
        "mlserver_runtime.py",
        "mlserver",
        # Its worker processes are beside the one that speaks; 0: none.
        batching(workers=(0, 1)),
        lambda served: served.protobuf("model"),
    ),
    Contender(
        "KServe",
        "kserve_server.py",
        "kserve",
        grid(workers=(1, 2)),
        lambda served: served.protobuf("model"),
    ),
    Contender(
        "LitServe",
        "litserve_server.py",
        "litserve",
        tuple(
            {**point, "batch": max(1, int(point["batch"]))}
            for point in batching(workers=(1, 2), fast_queue=(False, True))
        ),
        lambda served: served.json(),
        "http",
        "/predict",
    ),
    Contender(
        "BentoML",
        "bentoml_service.py",
        "bentoml",
        # Its delay is a bound in milliseconds, past which it gives requests up.
        tuple({**point, "delay": 1000} for point in batching(workers=(1, 2))),
        lambda served: served.json_in_one(),
        "http",
        "/infer",
    ),
)
ALL = (BARE, PLAIN, *PEERS)
