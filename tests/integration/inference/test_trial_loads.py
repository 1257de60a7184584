"""A version is loaded in a worker first: what takes all time or memory there is not loaded here."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from inference.backends.local import LocalLoader
from inference.backends.trial_load import TrialLoad
from inference.engine import ReadyVersion
from inference.engine.engine import Engine
from inference.engine.trust_state import RollbackGuardFile
from inference.engine.version_contents import RESPONSE
from inference.runtime.settings import CpuSettings
from registry.sandbox import process
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.builders.models.hard_graphs import (
    behind_loop,
    with_laborious_constant,
    with_large_constant,
)
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import BETTER, only, promoted, resolved

MEMORY = 1 << 30
GRAPH = BETTER[RESPONSE]
HARD = {
    "a constant that takes minutes to compute": with_laborious_constant(GRAPH),
    "a constant of gigabytes": with_large_constant(GRAPH, 40),
    "a run without an end": behind_loop(GRAPH),
}


@pytest.fixture
def built_here(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, bytes]]:
    """The files of each version that is loaded in this process."""
    found = []
    build = ReadyVersion.build

    def building(digest: str, files: Mapping[str, bytes], *args: object, **more: object) -> object:
        found.append(files)
        return build(digest, files, *args, **more)

    monkeypatch.setattr(ReadyVersion, "build", building)
    return found


@pytest.mark.parametrize("name", HARD)
def test_the_alias_keeps_its_version(
    registry: UncheckedRegistry,
    tmp_path: Path,
    name: str,
    built_here: list[Mapping[str, bytes]],
) -> None:
    seen = RollbackGuardFile.open(tmp_path / "seen.json")
    trials = []

    class Trial(TrialLoad):
        def check(self, digest: str, files: Mapping[str, bytes]) -> None:
            if files[RESPONSE] != HARD[name]:
                return
            trials.append(digest)
            super().check(digest, files)

    loader = LocalLoader(CpuSettings(1), trial=Trial(4.0, MEMORY))
    engine = Engine(registry.anchor, seen, registry.clock, loader)
    promoted(registry)
    engine.update(registry, registry)
    assert resolved(engine) == 1
    promoted(registry, BETTER | {RESPONSE: HARD[name]})
    for _ in range(2):
        assert only(engine.update(registry, registry)) is Reason.WORKER_LIMIT
        assert resolved(engine) == 1
    assert len(trials) == 2
    assert all(files[RESPONSE] != HARD[name] for files in built_here)


def test_what_was_ended_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = TrialLoad(memory=MEMORY)
    files = BETTER | {RESPONSE: HARD["a constant of gigabytes"]}
    with refused(Reason.WORKER_LIMIT):
        trial.check("sha256:1", files)
    monkeypatch.delattr(process, "start")
    with refused(Reason.WORKER_LIMIT) as found:
        trial.check("sha256:1", files)
    assert "tried before" in found.value.detail


def test_what_passed_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tried.json"
    path.write_text("[")
    TrialLoad(passed=path).check("sha256:1", BETTER)
    monkeypatch.delattr(process, "start")
    TrialLoad(passed=path).check("sha256:1", BETTER)
    with pytest.raises(AttributeError):
        TrialLoad(passed=path).check("sha256:2", BETTER)


def test_a_version_that_is_none_is_refused_for_what_it_is() -> None:
    with refused(Reason.FORMAT_REFUSED):
        TrialLoad().check("sha256:1", BETTER | {RESPONSE: b"none"})


def test_a_version_is_tried_again_once_there_is_a_folder_for_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "later"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    trial = TrialLoad()
    with refused(Reason.WORKER_FAILED):
        trial.check("sha256:1", BETTER)
    folder.mkdir()
    trial.check("sha256:1", BETTER)


def test_a_version_is_tried_again_where_its_worker_ended_at_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = TrialLoad()
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        with refused(Reason.WORKER_FAILED):
            trial.check("sha256:1", BETTER)
    trial.check("sha256:1", BETTER)
