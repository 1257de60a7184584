"""Answers a second of an XGBoost model, governed, beside MLServer, which only serves it.

MLServer runs the booster by its own runtime for XGBoost, and the ONNX file by ONNX Runtime; the
gateway runs the ONNX file, screens each request by its response graph, and records each answer. All
are on one core and take turns, as in `make bench NAME=serve`.
"""

from dataclasses import asdict, replace
from pathlib import Path

from safetensors.numpy import save_file

from benchmarks.anymodel.subjects import ReadyModel
from benchmarks.contenders import PEERS
from benchmarks.figures import ratio, summary
from benchmarks.governed import install
from benchmarks.load import LoadClient
from benchmarks.processes import Cores
from benchmarks.report import Row
from benchmarks.serve import Bench, Entry, Turns, measure
from benchmarks.serve_subjects import ServedModel
from benchmarks.served import Served

LOAD = "64 in flight"
_PACE = Turns(seconds=2.0, raw_seconds=0.5, grid_seconds=1.0, rounds=3, search=True)
_MLSERVER = next(each for each in PEERS if each.name == "MLServer")
# Its worker processes have no core of their own here.
_SETTINGS = tuple(each for each in _MLSERVER.settings if each["workers"] == 0)
CONTENDERS = (
    replace(
        _MLSERVER,
        name="MLServer, XGBoost",
        program="mlserver_booster.py",
        settings=_SETTINGS,
        # It answers with the class alone.
        values=1,
    ),
    replace(_MLSERVER, name="MLServer, ONNX Runtime", settings=_SETTINGS),
)


def beside_peers(model: ReadyModel, folder: Path) -> Row:
    """The rates of model, with its booster, at 64 in flight; the ratio is ours over the
    best of the others, round by round; there is none where no other runs.
    """
    file, data = folder / "model.onnx", folder / "data.safetensors"
    file.write_bytes(model.onnx)
    (folder / "model.json").write_bytes(model.native)
    save_file({"x": model.x, "y": model.y}, data)
    cores = Cores.of_this_machine()
    client = LoadClient.build(Path("build/bench"), cores.client)
    bench = Bench(folder, cores, client, _PACE)
    installed = install(folder / "governed", "governed", file, data, transport="auto")
    served = Served("xgboost", file, {"input": model.x}, 2)
    entries, _ = measure(bench, ServedModel(served, CONTENDERS, (installed,)))
    return _row(entries, bench)


def _row(entries: list[Entry], bench: Bench) -> Row:
    cells = {entry.name: entry.cells[LOAD] for entry in entries}
    ours = [cell.rate for cell in cells.pop("governed")]
    if not cells:
        return {"not_run": bench.notes}
    best = max(cells, key=lambda name: sorted(cell.rate for cell in cells[name])[len(ours) // 2])
    return {
        "what": f"XGBoost, governed over the best peer, {LOAD}",
        "best_peer": best,
        "ratio": asdict(ratio(ours, [cell.rate for cell in cells[best]])),
        "rates": {entry.name: summary(entry.cells[LOAD])["rate"] for entry in entries},
        "settings": {entry.name: dict(entry.setting) for entry in entries},
        "not_run": bench.notes,
    }
