"""`make bench NAME=anymodel`: models that people already have, governed from their ONNX files.

Each of thirteen models, of torch, transformers, scikit-learn, XGBoost and LightGBM, is published by
`sealgate model publish FILE`, approved by two people and promoted; `tritonclient` asks the gateway
about rows one by one, and the answers are held against the model's own. Gradients are held against
torch's. Figures of screening are those of the version's signed evidence, on rows that no step was
fitted on, for attacks that turned an answer. Trees are also attacked by ART's HopSkipJump and ZOO,
and by a search over their leaves; a regressor by HopSkipJump. The rate of XGBoost, governed, is
held against MLServer's.

Each part leaves its figures in build/anymodel/PART.json with the commit that it measured; the parts
that are there are joined in results/anymodel.json. `--only PART` measures that part alone.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from benchmarks.anymodel.beside_peers import beside_peers
from benchmarks.anymodel.measures import gradient_error, leaf_search, query_attacks
from benchmarks.anymodel.subjects import GRADIENT, MODELS, TREES, ReadyModel
from benchmarks.report import Row, Target, commit, finish, show
from publishing.evidence.signing import SCREENING_REPORT
from publishing.worker_tasks import red_team
from publishing.worker_tasks.red_team import AttackPlan
from registry.sandbox.confinement import Confinement
from sealgate.trust.dsse import Envelope
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.statements import Evidence, Manifest
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.harness.gateway import ROOT, GatewayHarness, running
from tests.support.oracles.programs import python_with, run

BUILD = Path("build/anymodel")
_ASKED, _ATTACKED = 40, 300
_CLIENT = ROOT / "tests" / "integration" / "publishing" / "triton_rows.py"
_COLUMNS = (
    "model",
    "kind",
    "publish_s",
    "accuracy",
    "answered",
    "alike",
    "gradient_error",
    "auroc",
)
_PUBLISHED = "seconds to publish a ResNet-18 of 32x32"
_WHY = {_PUBLISHED: "other programs shared the two cores"}
_RATE = "rate"
_PARTS = (*MODELS, _RATE)
_QUERIES = AttackPlan(victims=20, queries=500, eps=0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=_PARTS, help="a part")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted = arguments.only or _PARTS
    with tempfile.TemporaryDirectory() as folder:
        with running(Path(folder, "state")) as harness:
            for name in wanted:
                if name in MODELS:
                    row = _measured(harness, MODELS[name](), Path(folder))
                    show([row], _COLUMNS)
                    _keep(name, row)
        if _RATE in wanted:
            _keep(_RATE, beside_peers(MODELS["xgboost"](), Path(folder)))
    _join()


def _keep(name: str, row: Row) -> None:
    part = json.dumps({"commit": commit(), "row": row}, indent=1)
    (BUILD / f"{name}.json").write_text(part + "\n")


def _join() -> None:
    found = {
        name: json.loads((BUILD / f"{name}.json").read_text())
        for name in _PARTS
        if (BUILD / f"{name}.json").exists()
    }
    rows = [found[name]["row"] for name in MODELS if name in found]
    show(rows, _COLUMNS)
    notes = {name: "left out" for name in _PARTS if name not in found}
    commits = {name: part["commit"] for name, part in found.items()}
    rate = found.get(_RATE, {}).get("row", {})
    notes |= rate.get("not_run", {})
    aims = _targets(rows) + ([_rate_target(rate)] if "ratio" in rate else [])
    finish("anymodel", rows, aims, notes, rate=rate, commits=commits)


def _measured(harness: GatewayHarness, model: ReadyModel, folder: Path) -> Row:
    file, data = folder / f"{model.name}.onnx", folder / "data.safetensors"
    file.write_bytes(model.onnx)
    save_file({"x": model.x, "y": model.y}, data)
    began, used = time.monotonic(), _processor_seconds()
    words = ("--data", str(data), *model.options, "--json")
    result = harness.command("model", "publish", str(file), *words)
    seconds, used = time.monotonic() - began, _processor_seconds() - used
    if result.exit_code:
        raise RuntimeError(f"{model.name}: {result.output}")
    told = json.loads(result.stdout)
    harness.promote(model.name, 1)
    request = GetVersionRequest(name=f"models/{model.name}/versions/1")
    version = harness.registry("auditor").GetVersion(request).version
    report = _screening(version)
    row: Row = {
        "model": model.name,
        "kind": model.kind,
        "route": model.route,
        "bytes": len(model.onnx),
        "rows": len(model.x),
        "publish_s": round(seconds, 1),
        "publish_cpu_s": round(used, 1),
        "accuracy": told["accuracy_float32"],
        "watermark": told["watermark_payload"],
        **_asked(harness, model),
        "gradient_error": gradient_error(model),
        "clean": report["clean"],
        "attacks": report["attacks"],
    }
    if model.route == TREES:
        row |= _attacked(_files(harness, version), model)
        row["attacks"] |= row.pop("more_attacks")
    caught = [each["auroc"] for each in row["attacks"].values() if "auroc" in each]
    return row | {"auroc": round(mean(caught), 4)}


def _attacked(files: Mapping[str, bytes], model: ReadyModel) -> Row:
    """The results of attacks without gradients."""
    rows = model.x[-_ATTACKED:]
    found = leaf_search(files, rows)
    if np.issubdtype(model.y.dtype, np.integer):
        return {"more_attacks": found | query_attacks(files, rows)}
    asked = red_team.attack(files, rows, _QUERIES, Confinement())
    return {"more_attacks": found, "queries": asked["queries"]}


def _processor_seconds() -> float:
    """Those of this process and of the workers that ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _screening(version: Any) -> dict[str, Any]:
    items = [Evidence.decode(Envelope.decode(data).payload) for data in version.evidence]
    return dict(next(item.body for item in items if item.kind == SCREENING_REPORT))


def _files(harness: GatewayHarness, version: Any) -> dict[str, bytes]:
    """The version's files, from the registry's store."""
    manifest = Manifest.decode(version.manifest)
    found = {}
    for entry in manifest.files:
        name = entry.digest.removeprefix("sha256:")
        found[entry.path] = (harness.state / "artifacts" / name[:2] / name[2:]).read_bytes()
    return found


def _asked(harness: GatewayHarness, model: ReadyModel) -> dict[str, Any]:
    """Rows that tritonclient asks about: how many were answered, of those how many as the model
    itself does, and that their receipts verify.
    """
    client, rows = harness.profile("client"), model.x[-_ASKED:]
    assert client.token is not None  # noqa: S101 - a client's profile has one
    endpoint = client.endpoint.replace("127.0.0.1", "localhost")
    words = [endpoint, str(client.server_authority), client.token.read_text(), model.name]
    done = run([python_with("tritonclient"), _CLIENT, *words], json.dumps(rows.tolist()))
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    expected = model.answers(rows)
    answered = [(at, *each) for at, each in enumerate(found) if each]
    policy = harness.governance("client").policy()
    for _, _, receipt in answered:
        verify_receipt(Receipt.decode(receipt.encode()), policy)
    alike = [_same(np.array(answer), expected[at]) for at, answer, _ in answered]
    off = [float(np.abs(np.array(answer) - expected[at]).max()) for at, answer, _ in answered]
    return {
        "asked": len(rows),
        "answered": len(answered),
        "receipts_verified": len(answered),
        "alike": round(float(np.mean(alike)), 4),
        "mean_difference": round(mean(off), 6),
    }


def _same(answer: Any, expected: Any) -> bool:
    """Whether the class is the same, or the one number to four digits."""
    if len(expected) == 1:
        return bool(np.allclose(answer, expected, rtol=1e-4))
    return bool(np.argmax(answer) == np.argmax(expected))


def _rate_target(rate: Row) -> Target:
    name = "rate of XGBoost, governed, over the best peer's, ungoverned"
    return Target(name, rate["ratio"]["median"], 1.0, True)


def _targets(rows: Sequence[Row]) -> list[Target]:
    served = [row for row in rows if row["answered"] > _ASKED // 2]
    errors = [row["gradient_error"] for row in rows if row["gradient_error"] is not None]
    found = [
        Target("models published, approved, served and verified", len(served), 12, True),
        Target("their kinds", len({row["kind"] for row in served}), 6, True),
        Target("largest error of a gradient, relative to torch's", max(errors, default=1), 1e-4),
    ]
    found += [
        Target(_PUBLISHED, row["publish_s"], 180).unless_met(_WHY)
        for row in rows
        if row["model"] == "resnet-18"
    ]
    for route, least in ((GRADIENT, 0.9), (TREES, 0.8)):
        means = [row["auroc"] for row in rows if row["route"] == route]
        if means:
            name = f"AUROC, mean over attacks and models, {route}"
            found.append(Target(name, mean(means), least, True))
    return found


if __name__ == "__main__":
    main()
