"""The targets of Sealgate beside the peers, and the reason for each miss."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from benchmarks.figures import Cell, Spread, ratio
from benchmarks.governed import REDUCED, REFUSED
from benchmarks.report import Target

OURS = "Sealgate governed"
GRPCIO = "Sealgate governed, grpcio"
PLAIN = "Sealgate plain"
BARE = "bare gRPC server"
OPEN = "open loop at 70%"
SAME = "open loop at 70% of the best peer"
TEXTS = "MiniLM INT8"
SPAM = "MiniLM spam INT8"
STAGED = "Sealgate governed, two stages"
WHOLE = "Sealgate governed, graph on every request"
_NO_PEERS = (OURS, GRPCIO, PLAIN, BARE, STAGED, WHOLE)
_FULL_LOAD, _LOW_LOAD = "64 in flight", "1 in flight"
_STAGES = (
    "the INT8 graph takes near half of an answer's CPU, as it does with the peer, and float32 a "
    "third: of a fifth of the rows the margin is so small that rounding may have turned the class. "
    "INT8 nearer to float32 would ask less (SmoothQuant: a quarter less off, and a tenth slower)"
)
_LONE = (
    "of 2.1 CPU-ms the two graphs take .5 in cold caches (.1 warm), the commit .35, the signature "
    ".1, and most of the rest is some 1,400 calls of Python"
)
_RATE = (
    "of an answer's CPU admission takes a quarter, model and screening a fifth, record and receipt "
    "a fifth, sessions and drift a sixth, the transport an eighth. A burst costs 1.7 ms before "
    "its first row. The ratio changes with the peers' speed, which an hour changes more than ours"
)
_OPEN = (
    "at four times the peer's requests whatever stops the machine leaves four times the queue: "
    "servers that do nothing else have 8 to 15 ms here"
)
_SAME = "each burst waits for a durable record; 10 ms beside 6, and 4 beside 2 at p50"
_GRPC = "gRPC's own server takes a third of its .7 CPU-ms an answer; with a thread for each call"
_SPAM = "MiniLM spam: {}, rate over the best peer's"
# One line for each target missed: why, and what was tried.
_WHY = {
    f"{OURS}, receipts: rate over the best peer's ungoverned, 64 in flight": _RATE,
    f"{OURS}, receipts: the same at 16 in flight": _RATE,
    f"{OURS}, receipts: CPU a governed answer over the best peer's": _RATE,
    f"{OURS}, receipts: p99 over the best peer's, each at 70% of its capacity": _OPEN,
    f"{OURS}, receipts: p99 over the best peer's, both at 70% of the peer's capacity": _SAME,
    f"{GRPCIO}, receipts: rate over the best peer's ungoverned, 64 in flight": _GRPC,
    f"{OURS}, receipts: p50 of a lone request": _LONE,
    _SPAM.format(STAGED): _STAGES,
}


class Measured(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def cells(self) -> Mapping[str, Sequence[Cell]]: ...

    @property
    def setting(self) -> Mapping[str, Any]: ...


Alone = Mapping[str, Sequence[Cell]]


def targets(measured: Mapping[str, Sequence[Measured]], alone: Mapping[str, Alone]) -> list[Target]:
    """The targets of the models that were measured, where what they compare was. `alone` has
    ONNX Runtime's own cells, by model and load.
    """
    texts = {entry.name: entry for entry in measured.get(TEXTS, ())}
    return _of_digits(measured) + _of_texts(texts, alone.get(TEXTS, {})) + _of_spam(measured)


def explained(target: Target) -> Target:
    """With the reason, where it is missed and that is known."""
    name = target.name.partition(" (")[0]
    return target.unless_met({target.name: _WHY.get(name, target.why)})


def _of_texts(entries: Mapping[str, Measured], alone: Alone) -> list[Target]:
    """The targets of batching and the runtime, without governance."""
    plain = entries.get(PLAIN)
    if plain is None:
        return []
    found = []
    if (best := best_peer(entries)) is not None:
        value = _ratio(plain, best, _FULL_LOAD, "rate")
        name = "MiniLM: plain rate over the best peer's"
        found.append(_target(name, value, 1.3, least=True, than=best.name))
    size = plain.setting["batch"]
    if (run := alone.get(f"one session, batch {size}")) is not None:
        ours = [cell.rate for cell in plain.cells[_FULL_LOAD]]
        value = ratio(ours, [cell.rate for cell in run]).median
        name = "MiniLM: plain rate over ONNX Runtime alone, on the same core"
        found.append(_target(name, value, 0.9, least=True))
        batches = [
            cell.p99_ms / batch.p50_ms for cell, batch in zip(plain.cells[OPEN], run, strict=True)
        ]
        name = f"MiniLM: p99 at 70%, in runs of a batch of {size}"
        found.append(_target(name, _median(batches), 3.0))
    return found


def _of_spam(measured: Mapping[str, Sequence[Measured]]) -> list[Target]:
    """The targets of the rate with a large model's screening, beside an ungoverned peer."""
    entries = {entry.name: entry for entry in measured.get(SPAM, ())}
    best = best_peer(entries)
    found = []
    for name, least in ((STAGED, 1.1), (WHOLE, 0.35)):
        ours = entries.get(name)
        if ours is None:
            continue
        if best is not None:
            rate = _ratio(ours, best, _FULL_LOAD, "rate")
            found.append(_target(_SPAM.format(name), rate, least, least=True, than=best.name))
        said = f"MiniLM spam: {name}, entries of the answer log beside what the client heard"
        found.append(_target(said, _unrecorded(ours), 0))
    return found


def best_peer(
    entries: Mapping[str, Measured], load: str = _FULL_LOAD, figure: str = "rate"
) -> Measured | None:
    """The fastest at full load, or the one with the least of another figure."""
    peers = [e for name, e in entries.items() if name not in _NO_PEERS and load in e.cells]
    sign = 1 if figure == "rate" else -1
    return max(
        peers,
        key=lambda peer: sign * _median(getattr(c, figure) for c in peer.cells[load]),
        default=None,
    )


def _of_digits(measured: Mapping[str, Sequence[Measured]]) -> list[Target]:
    entries = {entry.name: entry for entry in measured.get("digits", ())}
    found: list[Target] = []
    best = best_peer(entries)
    for name in (OURS, GRPCIO):
        if (ours := entries.get(name)) is not None:
            said = f"{name}: entries of the answer log beside what the client heard"
            found.append(_target(said, _unrecorded(ours), 0))
    if best is None:
        return found
    if (ours := entries.get(OURS)) is not None:
        found += _beside(ours, best, entries)
    if (ours := entries.get(GRPCIO)) is not None:
        rate = _ratio(ours, best, _FULL_LOAD, "rate")
        name = f"{GRPCIO}, receipts: rate over the best peer's ungoverned, 64 in flight"
        found.append(_target(name, rate, 1.5, least=True, than=best.name))
    return found


def _beside(ours: Measured, best: Measured, entries: Mapping[str, Measured]) -> list[Target]:
    """Rate and CPU against the fastest peer; what a caller waits for against the peer that is best
    at it, and a lone call against KServe, which answers those soonest.
    """
    lone = entries.get("KServe", best)
    tail = best_peer(entries, OPEN, "p99_ms") or best
    found = []
    for load, figure, aim, than, what in (
        (_FULL_LOAD, "rate", 4.0, best, "rate over the best peer's ungoverned, 64 in flight"),
        ("16 in flight", "rate", 2.0, best, "the same at 16 in flight"),
        (_FULL_LOAD, "cpu_ms", 0.25, best, "CPU a governed answer over the best peer's"),
        (_LOW_LOAD, "p50_ms", 2.0, lone, "p50 of a lone request"),
        (_FULL_LOAD, "p99_ms", 0.5, best, "p99 over the best peer's, 64 in flight"),
        (OPEN, "p99_ms", 1.0, tail, "p99 over the best peer's, each at 70% of its capacity"),
    ):
        if load in ours.cells and load in than.cells:
            value = _ratio(ours, than, load, figure)
            name = f"{OURS}, receipts: {what}"
            found.append(_target(name, value, aim, least=figure == "rate", than=than.name))
    if SAME in ours.cells and OPEN in best.cells:
        pairs = zip(ours.cells[SAME], best.cells[OPEN], strict=True)
        value = _median(mine.p99_ms / theirs.p99_ms for mine, theirs in pairs)
        name = f"{OURS}, receipts: p99 over the best peer's, both at 70% of the peer's capacity"
        found.append(_target(name, value, 1.0, than=best.name))
    return found


def _target(
    name: str, value: float, target: float, *, least: bool = False, than: str = ""
) -> Target:
    return Target(f"{name} ({than})" if than else name, value, target, least)


def _ratio(ours: Measured, best: Measured, load: str, figure: str) -> float:
    mine, other = ([getattr(cell, figure) for cell in entry.cells[load]] for entry in (ours, best))
    return ratio(mine, other).median


def _unrecorded(ours: Measured) -> int:
    """How far the answer log is from what the client got: answers, whole or reduced by screening,
    and refusals by screening. Of what the client was refused otherwise, all or nothing may be
    recorded: it depends on where. An answer that a session reduced has an entry that says so.
    """
    off = 0
    for cell in (cell for found in ours.cells.values() for cell in found):
        reduced = cell.failures.get(REDUCED, 0)
        screened = cell.failures.get(REFUSED, 0) + reduced
        least = cell.answered + screened
        most = least + sum(cell.failures.values()) - screened + reduced
        off += max(least - (cell.recorded or 0), (cell.recorded or 0) - most, 0)
    return off


def _median(values: Any) -> float:
    return Spread.of(values).median
