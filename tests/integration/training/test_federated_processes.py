"""Training with clients, as processes, through Flower's SecAgg+: `make test-extra NAME=federated`.

Flower has an environment of its own (docs/adr/0020); where it is absent, these are skipped.
"""

import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from publishing.source.folder import Origin
from tests.support.builders.training.federated_recipes import (
    FEDERATED,
    PERCEPTRON,
    PRIVATE,
    written,
)
from tests.support.oracles import programs
from training.recipe.federated import QUANTA

LIMIT = 300
CLIP = 1.0
pytestmark = pytest.mark.timeout(LIMIT + 60)


@pytest.fixture(scope="module")
def python() -> str:
    return programs.own_python_with("federated", "flwr")


def said(python: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *words],
        cwd=programs.ROOT,
        env=os.environ | {"FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def outcome(python: str, *words: str | Path) -> dict[str, Any]:
    found = said(python, "-m", "tests.support.harness.processes.watched_federation", *words)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


def test_a_recipe_becomes_a_folder_that_publishing_takes(python: str, tmp_path: Path) -> None:
    recipe, out = written(tmp_path, PERCEPTRON, FEDERATED), tmp_path / "made"
    found = said(python, "-m", "sealgate.cli.main", "federate", recipe, "--out", out, "--json")
    assert found.returncode == 0, found.stderr
    shown = json.loads(found.stdout)
    assert (shown["clients"], shown["rounds"]) == (9, 2)
    first, second = map(json.loads, (out / "curves.jsonl").read_text().splitlines())
    assert second["loss"] < first["loss"] < np.log(10)
    assert "round 2" in found.stderr
    # No row, key or update stays.
    assert sorted(path.name for path in out.iterdir()) == [
        "curves.jsonl",
        "data.safetensors",
        "model",
        "plots",
        "report.json",
    ]
    files = {path.name: path.read_bytes() for path in (out / "model").iterdir()}
    origin = Origin.decode(files.pop("provenance.json"))
    origin.check(files)
    definition = origin.statement["predicate"]["buildDefinition"]
    told = definition["internalParameters"]["federated"]
    assert (told["clients"], told["rule"], len(told["rounds"])) == (9, "closest", 2)
    for each in told["rounds"]:
        assert sorted(itertools.chain(*each["groups"])) == list(range(9))
        assert [len(group) for group in each["groups"]] == [3, 3, 3]
    assert definition["externalParameters"]["recipe"]["federated"]["rounds"] == 2
    assert {"uri": "pkg:pypi/flwr@1.42.0"} in definition["resolvedDependencies"]
    again = said(python, "-m", "sealgate.cli.main", "federate", recipe, "--out", out)
    assert "RUN_FOREIGN" in again.stderr


@pytest.fixture(scope="module")
def watched(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose clients wrote down what they sent, and whose server what it got."""
    folder = tmp_path_factory.mktemp("watched")
    outcome(python, "run", written(folder), folder, "telling", "watching")
    return folder / "run"


def test_nothing_of_clients_stays_where_it_is_ended_early(python: str, tmp_path: Path) -> None:
    recipe, out = written(tmp_path, PERCEPTRON, FEDERATED), tmp_path / "made"
    command = [python, "-m", "sealgate.cli.main", "federate", str(recipe), "--out", str(out)]
    with subprocess.Popen(command, cwd=programs.ROOT, stderr=subprocess.DEVNULL) as process:
        while not list((out / "run").glob("client-*/shard.safetensors")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not (out / "run").exists()


def test_the_server_is_sent_nothing_but_masked_vectors(watched: Path) -> None:
    seen = json.loads((watched / "server" / "seen.json").read_text())
    assert {(one["stage"], one["client"]) for one in seen} == {
        (stage, client)
        for stage in ("setup", "share_keys", "collect_masked_vectors", "unmask")
        for client in range(9)
    }
    answers = {
        "setup": {"pk1", "pk2"},
        "share_keys": {"dsts", "ctxts"},
        "collect_masked_vectors": {"masked_params"},
        "unmask": {"nids", "shares"},
    }
    for one in seen:
        assert one["arrays"] == 0
        assert set(one["configs"].pop("secaggplus_configs")) == answers[one["stage"]]
        # What Flower adds beside it says how many rows, and how it went: here always the same.
        assert one["metrics"] in ({}, {"fitres.num_examples": {"num_examples": 1}})
        assert set(one["configs"]) <= {"fitres.status", "fitres.metrics"}
        assert one["configs"].get("fitres.metrics", []) == []


def test_masked_vectors_tell_nothing_of_the_update(watched: Path) -> None:
    for number in (1, 2):
        for client in range(9):
            plain = np.load(watched / f"client-{client:03d}" / f"plain-{number}.npy")
            under = np.load(watched / "server" / f"masked-{number}-{client}.npy")
            bare = (plain + CLIP) * QUANTA / (2 * CLIP)
            assert under.shape == bare.shape
            assert (np.abs(under - bare) < 2).mean() < 0.001
            assert abs(np.corrcoef(under, bare)[0, 1]) < 0.1
            # As good as even over the whole range, where bare updates all lie close to one another.
            assert under.std() > 1000 * bare.std()


def test_sums_are_the_sums_of_the_updates(watched: Path) -> None:
    found = sorted((watched / "server").glob("mean-*.npy"))
    assert len(found) == 6
    for path in found:
        number, *group = map(int, path.stem.removeprefix("mean-").split("-"))
        assert len(group) == 3
        plain = [np.load(watched / f"client-{at:03d}" / f"plain-{number}.npy") for at in group]
        wanted = np.mean([np.clip(update, -CLIP, CLIP) for update in plain], axis=0)
        # A quantum for each client, rounded at random.
        assert np.abs(np.load(path) - wanted).max() < 2 * 2 * CLIP / QUANTA


def test_the_servers_folder_holds_no_row(watched: Path) -> None:
    names = {path.name for path in (watched / "server").iterdir()}
    assert not any("shard" in name for name in names)
    assert (watched.stat().st_mode & 0o777) == 0o700


def test_clients_refuse_sums_of_two(python: str, tmp_path: Path) -> None:
    found = outcome(python, "run", written(tmp_path), tmp_path, "real", "pairing")
    assert found["refused"] == "CLIENTS_TOO_FEW"
    assert "SUM_REFUSED" in (tmp_path / "run" / "clients.log").read_text()


def test_a_run_goes_on_without_a_client_that_ends(python: str, tmp_path: Path) -> None:
    federated = FEDERATED + "clients = 10\npatience = 40.0\n"
    recipe = written(tmp_path, PERCEPTRON, federated)
    found = outcome(python, "run", recipe, tmp_path, "mortal", "real")
    second = found["account"]["rounds"][1]
    assert any(3 in group for group in second["broken"])
    assert sorted(itertools.chain(*second["groups"])) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_with_too_few_left_it_ends(python: str, tmp_path: Path) -> None:
    found = outcome(python, "run", written(tmp_path), tmp_path, "failing", "real")
    assert found["refused"] == "CLIENTS_TOO_FEW"
    assert "8 of 9" in found["detail"]


def test_a_private_run_says_what_it_spent(python: str, tmp_path: Path) -> None:
    recipe = written(tmp_path, PERCEPTRON, FEDERATED, PRIVATE)
    found = outcome(python, "run", recipe, tmp_path, "real", "real")
    assert 0 < found["spent"]["epsilon"] <= 8.0
    other = written(
        tmp_path, PERCEPTRON, FEDERATED, PRIVATE.replace("8.0", "0.5"), name="other.toml"
    )
    found = outcome(python, "run", other, tmp_path / "other", "real", "real")
    assert found["refused"] == "RECIPE_INVALID"


def test_only_registered_clients_get_in(python: str) -> None:
    found = outcome(python, "doors")
    assert found.pop("known") == 200
    assert found.pop("own post") == 200
    assert {found.pop(path) for path in list(found) if path.startswith("/")} == {404}
    assert found.pop("other authority") == "ConnectError"
    assert found.pop("without TLS") in ("RemoteProtocolError", "ReadError")
    assert set(found) == {"unknown", "impostor", "registering", "another's post"}
    assert all(status in (401, 412) for status in found.values())
