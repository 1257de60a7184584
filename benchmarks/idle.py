"""The cost of idle connections and an idle gateway, by transport: `python -m benchmarks.idle`.

A gateway with the demo's digits model; 1,000 connections with TLS, on each of which one call has
authenticated. Told are the megabytes of memory that they add, and the share of a core and the
wake-ups a second that the gateway takes while nobody asks, without them and with them.
"""

import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.processes import processor_seconds, pss
from benchmarks.report import Target, finish, show
from demo.stage import free_ports
from gateway.transport.native import is_available
from sealgate.remote import Profile
from tests.support.harness.clients.http2 import Http2

_METADATA = "/inference.GRPCInferenceService/ServerMetadata"
_SETTLE_SECONDS = 5.0
_MIB = 1 << 20
_LIMITS = """
[limits]
connections = 2000
authenticate_within = 600.0
unauthenticated_per_address = 2000
"""


def used(process: int) -> tuple[float, int]:
    """Its seconds of processor, and how often its threads have slept and woken."""
    switches = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        status = (task / "status").read_text()
        switches += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return processor_seconds(process), switches


@contextmanager
def gateway(state: Path, transport: str) -> Iterator[tuple[int, Profile]]:
    """A new installation's process."""
    sealgate = [sys.executable, "-m", "sealgate.cli.main", "--state", str(state)]
    port = str(free_ports())
    subprocess.run([*sealgate, "init", "--unencrypted-keys", "--port", port], check=True)
    path = state / "gateway.toml"
    text = path.read_text().replace("[listen]\n", f'[listen]\ntransport = "{transport}"\n')
    path.write_text(text + _LIMITS)
    process = subprocess.Popen([*sealgate, "serve"], stdout=subprocess.PIPE)
    try:
        for line in process.stdout or ():
            if b"listening: tls" in line:
                break
        yield process.pid, Profile.read(state / "people" / "client" / "profile.toml")
    finally:
        process.terminate()
        process.wait()


def idle(process: int, seconds: float) -> dict[str, float]:
    before, begun = used(process), time.monotonic()
    time.sleep(seconds)
    after, took = used(process), time.monotonic() - begun
    return {"core": (after[0] - before[0]) / took, "wakes": (after[1] - before[1]) / took}


def measured(transport: str, count: int, seconds: float) -> dict[str, Any]:
    """The row of one transport."""
    with TemporaryDirectory() as folder, ExitStack() as held:
        process, profile = held.enter_context(gateway(Path(folder) / "state", transport))
        context = ssl.create_default_context(cafile=str(profile.server_authority))
        context.set_alpn_protocols(["h2"])
        port = int(profile.endpoint.rpartition(":")[2])
        token = Path(profile.token or "").read_text().strip()
        bearer = ("authorization", f"Bearer {token}")

        def connect() -> None:
            connection = Http2(port, tls=context)
            held.callback(connection.close)
            connection.socket.sendall(connection.call(_METADATA, b"", bearer))
            if b"sealgate" not in connection.body():
                raise SystemExit("a call was refused")

        connect()
        time.sleep(_SETTLE_SECONDS)
        alone, before = idle(process, seconds), pss(process)
        for _ in range(count):
            connect()
        time.sleep(_SETTLE_SECONDS)
        added, beside = pss(process) - before, idle(process, seconds)
        return {
            "transport": transport,
            "connections": count,
            "mb_before": before / _MIB,
            "mb_added": added / _MIB,
            "core": alone["core"],
            "core_with_them": beside["core"],
            "wakes": alone["wakes"],
            "wakes_with_them": beside["wakes"],
        }


@click.command(help=__doc__)
@click.option("--count", default=1_000)
@click.option("--seconds", default=30.0)
def main(count: int, seconds: float) -> None:
    transports = ["grpcio", *(["native"] if is_available() else [])]
    rows = [measured(transport, count, seconds) for transport in transports]
    show(rows, title="Idle connections and an idle gateway")
    last = rows[-1]
    finish(
        "idle",
        rows,
        [
            Target("megabytes that 1,000 idle connections add", last["mb_added"], 64.0),
            Target("an idle gateway's share of a core", last["core"], 0.005),
        ],
    )


if __name__ == "__main__":
    main()
