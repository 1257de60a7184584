"""`make bench NAME=log`: what the record costs, and what checking it costs.

Entries a second recorded durably in groups of 1 to 256, on SQLite and PostgreSQL, through the
gateway's own recorder: entries, group commit, signature, receipts. Then one log of a
million entries: inclusion proofs, and every entry hashed again against every signed checkpoint;
and a registry with as many: what was live at a time, proved and checked. Then a file of 500 MB:
signed, stored and verified, beside `sha256sum`. Writes results/log.json.
"""

import argparse
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.log.long_log import as_of, large_log, row_of, timed
from benchmarks.log.recording import Place, recording
from benchmarks.report import Row, Target, earlier, finish, show
from registry.storage.artifacts import FolderStore
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from sealgate.trust.statements import Manifest, oms

_ROUNDS = 5
# Processes that are ready to run, on a machine that does nothing else.
_QUIET = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long for each rate")
    parser.add_argument("--only", choices=["recording"], help="measure this part anew")
    parser.add_argument("--entries", type=int, default=1_000_000, help="in the large log")
    parser.add_argument("--megabytes", type=int, default=500, help="of the large file")
    asked = parser.parse_args()
    why = _busy(os.getloadavg()[0])
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        for kind, place in _databases(Path(folder)):
            rows += recording(kind, place, asked.seconds)
        if asked.only:
            anew = {row["what"] for row in rows}
            rows += [row for row in earlier("log") if row["what"] not in anew]
        else:
            rows += large_log(Path(folder), asked.entries)
            rows += as_of(Path(folder), asked.entries)
            rows += _large_file(Path(folder), asked.megabytes)
    show(rows, ("what", "figure", "unit"), title="the record, and checking it")
    finish("log", rows, _targets(rows, why))


def _busy(ready: float) -> str:
    """A note on a machine on which so many processes were ready to run at the start."""
    return f"others kept {ready:.1f} processes ready to run" if ready > _QUIET else ""


def _targets(rows: list[Row], why: str) -> list[Target]:
    found = {row["what"]: row["figure"] for row in rows}
    per_million = {row["what"]: row.get("per_million", 0.0) for row in rows}
    wanted = (
        ("entries/s, SQLite, 64 a group", 20_000.0, True),
        ("entries/s, SQLite, 256 a group", 40_000.0, True),
        ("CPU of a record with its receipt, SQLite, 64 a group", 45.0, False),
        ("a record alone with its receipt, SQLite, p50", 400.0, False),
        ("inclusion proof, p50", 5.0, False),
        ("as-of, p50", 5.0, False),
        ("signing a version, times sha256sum", 1.5, False),
        ("verifying a version, times sha256sum", 1.5, False),
    )
    targets = [
        Target(name, found[name], target, least).unless_met({name: why})
        for name, target, least in wanted
    ]
    whole = "whole log, from its database"
    checked = f"{whole}, s per million"
    return [*targets, Target(checked, per_million[whole], 10.0).unless_met({checked: why})]


@contextmanager
def _postgres() -> Iterator[Any]:
    from tests.support.harness.servers.postgres import PostgresServer

    with closing(PostgresServer()) as server:
        yield server


def _databases(folder: Path) -> Iterator[tuple[str, Place]]:
    """Each kind of database, and where a new one of it is."""
    yield "SQLite", lambda name: folder / f"{name}.db"
    with _postgres() as server:
        yield "PostgreSQL", server.schema_url


def _large_file(folder: Path, megabytes: int) -> list[Row]:
    """Publishing has the bytes that it signs, as they were made; what is verified is read from
    the store, whose pages are in memory by then. So the disk is measured in storing alone.
    """
    file, key = folder / "model.safetensors", PrivateKey.generate(ECDSA_P256)
    data = np.random.default_rng(1).bytes(megabytes * 1_000_000)
    file.write_bytes(data)
    manifest = Manifest.of({file.name: data})
    bundle, store = oms.sign(manifest, key), FolderStore(folder / "artifacts")
    entry = manifest.files[0]

    def sign() -> None:
        oms.sign(Manifest.of({file.name: data}), key)

    def put() -> None:
        with file.open("rb") as source:
            store.put(iter(lambda: source.read(1 << 20), b""), entry.size, entry.digest)

    def verify() -> None:
        oms.verify(bundle, manifest, [key.public])
        store.check(entry.digest, entry.size)

    steps: dict[str, Callable[[], object]] = {
        "sha256sum": lambda: subprocess.run(["sha256sum", file], check=True, capture_output=True),
        "signing a version": sign,
        "storing a version, durably": put,
        "verifying a version": verify,
        "loading a version, hashed": lambda: store.read(entry.digest, entry.size),
    }
    least = _by_turns(steps)
    rows = [row_of(name, taken, "s", megabytes=megabytes) for name, taken in least.items()]
    beside = least.pop("sha256sum")
    return rows + [
        row_of(f"{name}, times sha256sum", taken / beside, "times") for name, taken in least.items()
    ]


def _by_turns(steps: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least of each step's seconds, which what else the machine does cannot make less."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(_ROUNDS):
        for name, step in steps.items():
            times[name].append(timed(step))
    return {name: min(taken) for name, taken in times.items()}


if __name__ == "__main__":
    main()
