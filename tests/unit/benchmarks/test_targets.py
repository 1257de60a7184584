"""Targets in a benchmark's report: which are met, which are missed."""

import json
from dataclasses import dataclass, field, replace

import pytest

from benchmarks import report, serve_targets
from benchmarks.figures import Cell
from benchmarks.governed import REDUCED
from benchmarks.report import Target, write_report
from benchmarks.serve_targets import OURS

LOADS = ("1 in flight", "64 in flight", "open loop at 70%")


@dataclass
class Entry:
    name: str
    cells: dict = field(default_factory=dict)
    setting: dict = field(default_factory=dict)


def entry(name, rate, p99=10.0, **more):
    cell = Cell(1.0, rate, 0.25, 1.0, p99, 1, 0.1, rate, 1000, {}, **more)
    return Entry(name, {load: [cell, cell] for load in LOADS})


def found(*entries):
    return {aim.name: aim for aim in serve_targets.targets({"digits": entries}, {})}


def governed(**more):
    return entry(OURS, 1600, recorded=1600, **more)


def test_a_target_is_a_bound_from_above_or_below():
    assert Target("t", 1.0, 2.0).met
    assert not Target("t", 1.0, 2.0, least=True).met


def test_the_best_peer_is_the_fastest():
    aims = found(governed(), entry("Slow", 100), entry("Fast", 800, p99=20.0))
    rate = "rate over the best peer's ungoverned, 64 in flight"
    assert aims[f"{OURS}, receipts: {rate} (Fast)"].value == 2.0
    assert aims[f"{OURS}, receipts: p99 over the best peer's, 64 in flight (Fast)"].value == 0.5


def test_without_peers_there_is_nothing_beside_them():
    assert not any("peer" in name for name in found(governed()))


def test_without_our_row_there_are_no_targets():
    assert serve_targets.targets({"MiniLM INT8": [entry("Fast", 10)]}, {}) == []


def test_texts_are_held_against_the_best_peer_and_the_runtime_alone():
    plain = entry(serve_targets.PLAIN, 300, p99=60.0)
    plain.setting["batch"] = 8
    runs = [replace(cell, ok=320, p50_ms=25.0) for cell in plain.cells["64 in flight"]]
    alone = {serve_targets.TEXTS: {"one session, batch 8": runs}}
    measured = {serve_targets.TEXTS: [plain, entry("Slow", 100), entry("Fast", 200)]}
    values = {aim.name: aim.value for aim in serve_targets.targets(measured, alone)}
    assert values == {
        "MiniLM: plain rate over the best peer's (Fast)": 1.5,
        "MiniLM: plain rate over ONNX Runtime alone, on the same core": 300 / 320,
        "MiniLM: p99 at 70%, in runs of a batch of 8": 60 / 25,
    }


def test_screening_of_a_large_model_is_held_against_the_best_peer():
    staged = entry(serve_targets.STAGED, 190, recorded=190)
    whole = entry(serve_targets.WHOLE, 50, recorded=51)
    measured = {serve_targets.SPAM: [staged, whole, entry("Slow", 100), entry("Fast", 200)]}
    aims = {aim.name: aim for aim in serve_targets.targets(measured, {})}
    rates = {name: aim for name, aim in aims.items() if "(Fast)" in name}
    assert sorted((aim.value, aim.target) for aim in rates.values()) == [(0.25, 0.35), (0.95, 1.1)]
    assert not any(aim.met for aim in rates.values())
    logs = {name: aim.value for name, aim in aims.items() if name not in rates}
    assert sorted(logs.values()) == [0, 6]


@pytest.mark.parametrize(("recorded", "missing"), [(1600, 0), (1599, 6), (1601, 6)])
def test_an_answer_log_that_does_not_match_shows(recorded, missing):
    name = f"{OURS}: entries of the answer log beside what the client heard"
    ours = entry(OURS, 1600, recorded=recorded)
    assert found(ours)[name].value == missing


def test_refusals_by_screening_are_recorded_too():
    ours = governed()
    for load, cells in ours.cells.items():
        ours.cells[load] = [
            replace(cell, failures={"InvalidArgument": 2}, recorded=1602) for cell in cells
        ]
    assert found(ours)[f"{OURS}: entries of the answer log beside what the client heard"].met


@pytest.mark.parametrize(("recorded", "missing"), [(1601, 6), (1602, 0), (1604, 0), (1605, 6)])
def test_a_reduced_answer_has_one_entry_or_two(recorded, missing):
    ours = governed()
    for load, cells in ours.cells.items():
        ours.cells[load] = [
            replace(cell, failures={REDUCED: 2}, recorded=recorded) for cell in cells
        ]
    name = f"{OURS}: entries of the answer log beside what the client heard"
    assert found(ours)[name].value == missing


@pytest.mark.parametrize(("recorded", "missing"), [(1600, 0), (1603, 0), (1604, 6)])
def test_a_refusal_may_be_recorded_or_only_counted(recorded, missing):
    ours = governed()
    for load, cells in ours.cells.items():
        ours.cells[load] = [
            replace(cell, failures={"ResourceExhausted": 3}, recorded=recorded) for cell in cells
        ]
    name = f"{OURS}: entries of the answer log beside what the client heard"
    assert found(ours)[name].value == missing


def test_each_transport_is_held_against_the_best_peer():
    ours, grpcio = governed(), entry(serve_targets.GRPCIO, 1000, recorded=1000)
    aims = found(ours, grpcio, entry("Fast", 800))
    rate = "receipts: rate over the best peer's ungoverned, 64 in flight (Fast)"
    both = {name: aims[f"{name}, {rate}"] for name in (OURS, serve_targets.GRPCIO)}
    values = {name: (aim.value, aim.target) for name, aim in both.items()}
    assert values == {OURS: (2.0, 4.0), serve_targets.GRPCIO: (1.25, 1.5)}


def test_a_report_holds_machine_rows_targets_and_what_else_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    aim = Target("t", 1.0, 2.0, least=True).because("it is slow")
    write_report("name", [{"what": "row"}], [aim], not_measured={"Peer": "does not install"})
    document = json.loads((tmp_path / "name.json").read_text())
    assert document["rows"] == [{"what": "row"}]
    assert document["not_measured"] == {"Peer": "does not install"}
    (target,) = document["targets"]
    assert (target["met"], target["why"]) == (False, "it is slow")
    assert document["machine"]["cores"] >= 1
