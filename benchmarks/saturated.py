"""`make bench NAME=saturated`: what an hour at saturation adds to a gateway's memory.

The demo's digits, governed, with a receipt for each answer and 64 requests in flight for an hour.
The gateway has a core, the load another. Its memory (PSS, of all its processes) is read every ten
seconds. Prints a table; writes results/saturated.json and a plot.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import charts, governed, served
from benchmarks.load import LoadClient
from benchmarks.memory import Memory, watched
from benchmarks.processes import Cores
from benchmarks.report import RESULTS, Target, finish, show
from demo.materials import DATA, MODELS

_HOUR, _LOOK = 3600.0, 10.0
_IN_FLIGHT = 64
_PARTS = 6
# Of a gateway of some 300 MB: what the least squares of an hour may call growth.
_MOST_MB = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=_HOUR)
    seconds = parser.parse_args().seconds
    cores = Cores.of_this_machine()
    client = LoadClient.build(Path("build/bench"), cores.client)
    # On a disk: the log grows by gigabytes.
    with TemporaryDirectory(dir="build/bench") as name:
        folder = Path(name)
        paths = MODELS / "digits-standard", DATA / "digits.safetensors"
        installed = governed.install(folder / "state", "saturated", *paths)
        model = served.digits(installed.graph(), folder)
        with governed.running(installed, model, cores, client, folder) as gateway:
            plan = replace(gateway.plan, in_flight=_IN_FLIGHT, seconds=seconds)
            with watched(gateway.server.memory, min(_LOOK, seconds / 60)) as memory:
                cell = client.measure(plan, gateway.server, gateway.recorded)
    rows = _parts(memory)
    show(rows, title=f"{cell.ok:,} answers in {seconds:g} s, {cell.cpu / seconds:.0%} of a core")
    growth = Target("MB that an hour at saturation adds", 60 * memory.slope(), _MOST_MB)
    share = sum(cell.failures.values()) / max(cell.answered, 1)
    failed = Target("requests that failed, share", share, 0.001)
    # A request that its caller gave up has an entry, too.
    entries = cell.recorded or 0
    unrecorded = Target("answers without an entry", max(0, cell.answered - entries), 0)
    more: dict[str, Any] = {"seconds": seconds, "answers": cell.ok, "core": cell.cpu / seconds}
    more |= {"answers_outside_too": cell.answered, "entries": entries}
    finish("saturated", rows, [growth, failed, unrecorded], **more)
    _draw(memory)


def _parts(memory: Memory) -> list[dict[str, Any]]:
    """The mean and the most of each sixth of the time."""
    parts = zip(
        np.array_split(memory.seconds, _PARTS), np.array_split(memory.mb, _PARTS), strict=True
    )
    return [
        {"until_s": float(at[-1]), "mean_mb": float(mb.mean()), "most_mb": float(mb.max())}
        for at, mb in parts
    ]


def _draw(memory: Memory) -> None:
    with charts.figure(RESULTS / "saturated.svg", 1, 7) as (axis,):
        charts.line(axis, [at / 60 for at in memory.seconds], memory.mb, charts.BLUE, style="-")
        charts.name(axis, "memory of the gateway, MB", "minutes at saturation")


if __name__ == "__main__":
    main()
