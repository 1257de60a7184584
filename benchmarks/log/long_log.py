"""Logs of a million entries: what proving, checking and looking back cost in them."""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Row
from registry.log.reader import LogReader
from registry.log.rows import ANSWERS
from registry.log.tile_log import TileLog
from registry.state.schema import LOG
from registry.storage.database import Database
from sealgate.audit.entries import live_pointers
from sealgate.pack.tile_folder import TileFolder
from sealgate.trust.keys import PrivateKey
from sealgate.trust.receipts.answer_entry import LEAF_SIZE
from sealgate.trust.times import format_time
from tests.support.builders.documents.excerpts import opened
from tests.support.builders.documents.people import REGISTRY_LOG, key
from tests.support.harness.registry import RegistryHarness

ORIGIN = "benchmark/answers"
_GROUP = 64
_PROOFS = 300
_MOVES = 200
_MINUTE = timedelta(minutes=1)


def large_log(folder: Path, entries: int) -> list[Row]:
    """A log whose entries came 64 at a time, as they do under load."""
    place, signer = folder / "large.db", PrivateKey.generate()
    with closing(Database.open(place, "answers")) as database:
        log = TileLog.open(database, ANSWERS, ORIGIN, signer)
        _fill(database, log, entries)
        reader = LogReader(database, ANSWERS, lambda: log.vkey)
        size = reader.size()
        chosen = np.random.default_rng(0).integers(0, size, _PROOFS).tolist()
        proofs = [timed(partial(reader.inclusion, index, size)) for index in chosen]
        whole = timed(reader.verify)
        tiles = TileFolder(folder / "tiles", log.vkey)
        static = timed(lambda: tiles.grow(reader.checkpoint(), reader.entries(0, size)))
    return [
        *_percentiles("inclusion proof", proofs, size),
        row_of("whole log, from its database", whole, "s", **_per_million(whole, size)),
        row_of("whole log, into static tiles", static, "s", **_per_million(static, size)),
    ]


def as_of(folder: Path, entries: int) -> list[Row]:
    """The live versions at times over a history of moves: shown by a registry whose log has as many
    entries, and checked as an auditor's machine checks them.
    """
    harness = RegistryHarness(folder, f"sqlite:///{folder}/registry.db").found()
    began = harness.now
    targets = [harness.release(harness.publish(f"v{n}"), predecessor=n) for n in range(2)]
    for number in range(_MOVES):
        harness.now += _MINUTE
        harness.roll_back(targets[number % 2], number + 3)
    log = TileLog.open(harness.database, LOG, REGISTRY_LOG, key("registry-log"), shared=True)
    _fill(harness.database, log, entries)
    asked = np.random.default_rng(0).integers(1, _MOVES, _PROOFS).tolist()
    taken = [timed(partial(_live, harness, began + minutes * _MINUTE)) for minutes in asked]
    harness.registry.close()
    return _percentiles("as-of", taken, log.size)


def row_of(what: str, figure: float, unit: str, **more: Any) -> Row:
    """One figure of the report."""
    return {"what": what, "figure": figure, "unit": unit, **more}


def timed(step: Callable[[], object]) -> float:
    """How long the step takes, by the clock."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _live(harness: RegistryHarness, moment: datetime) -> None:
    text = format_time(moment)
    excerpt = opened(harness, harness.registry.audit_trail.live_at(text))
    (live,) = live_pointers(excerpt, text)
    if not live.since <= text < live.until:
        raise SystemExit(f"{text}: another move was live")


def _fill(database: Database, log: TileLog, entries: int) -> None:
    leaves = [number.to_bytes(4, "big") + bytes(LEAF_SIZE - 4) for number in range(_GROUP)]
    while log.size < entries:
        with log.lock, database.appending() as transaction:
            log.check_turn(transaction)
            appended = log.append(transaction, leaves)
            transaction.commit()
            log.settle(appended)


def _percentiles(what: str, taken: list[float], entries: int) -> list[Row]:
    return [
        row_of(f"{what}, p{share}", 1e3 * float(np.percentile(taken, share)), "ms", entries=entries)
        for share in (50, 99)
    ]


def _per_million(taken: float, entries: int) -> dict[str, float]:
    return {"entries": entries, "group": _GROUP, "per_million": taken * 1e6 / entries}
