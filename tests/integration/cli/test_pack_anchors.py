"""A pack tells which logs are not in it, and its own program checks the anchors."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from registry.answers.answer_log import AnswerLog
from sealgate.pack.tile_folder import TileFolder
from sealgate.reasons import Reason
from sealgate.trust.keys import PrivateKey, load_private_key
from sealgate.trust.transparency import log_vkey
from sealgate.trust.transparency.note import vkey
from sealgate.v1 import log_pb2 as messages
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.gateway import GatewayHarness, refusal
from tests.support.harness.policy_changes import change

ORIGIN, FOLDER = "house.localhost/answers", "house_localhost_answers"
DROPPED = "house.localhost/answers-of-last-year"
ENTRIES = 270


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """An answer log that is anchored, and one that only an earlier policy named."""
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state")
    harness.start()
    try:
        request = messages.GetEntryRequest(origin=ORIGIN, index=10**9)
        look = harness.logs().GetEntry
        for _ in range(ENTRIES):
            assert refusal(look, request) is Reason.ENTRY_UNKNOWN
        told = harness.command("audit", "verify", "--wait", "60")
        assert told.exit_code == 0, told.output
        line = vkey(DROPPED, PrivateKey.generate().public)
        change(harness, lambda document: document["logs"]["answers"].append(line))
        change(harness, lambda document: document["logs"]["answers"].remove(line))
        yield harness
    finally:
        harness.stop()


@pytest.fixture
def pack(harness: GatewayHarness, tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    words = ("audit", "export", str(folder), "--elsewhere", DROPPED, "--json")
    result = harness.command(*words)
    assert result.exit_code == 0, result.output
    return folder


def anchors(pack: Path, *elsewhere: str) -> tuple[int, str]:
    """Return the exit code and output of the pack's own program, which imports none of ours."""
    command = [sys.executable, "check/anchors.py", *elsewhere]
    done = subprocess.run(command, cwd=pack, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_policy_that_drops_a_log_hides_it_from_nobody(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    told = harness.command("audit", "verify", "--json")
    assert told.exit_code == 3, told.output
    states = {row["log"]: (row["state"], row["reason"]) for row in json.loads(told.stdout)}
    assert states[DROPPED] == ("incomplete", "LOG_UNSEEN")
    result = harness.command("audit", "export", str(tmp_path / "pack"), "--json")
    assert result.exit_code == 3, result.output
    assert json.loads(result.stdout)["not_here"] == {DROPPED: "never anchored"}
    label = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert label["not_here"] == {DROPPED: "never anchored"}
    assert label["anchors"][FOLDER] >= 1


def test_the_packs_own_program(pack: Path) -> None:
    status, printed = anchors(pack)
    assert status == 1
    assert f"not in this pack: {DROPPED}" in printed
    status, printed = anchors(pack, DROPPED)
    assert status == 0, printed
    assert f"{ORIGIN}: extends" in printed


def test_a_log_that_is_taken_out_of_the_pack(pack: Path) -> None:
    shutil.rmtree(pack / "logs" / FOLDER)
    (pack / "keys" / "logs" / f"{FOLDER}.vkey").unlink()
    status, printed = anchors(pack, DROPPED)
    assert status == 1
    assert f"not in this pack: {ORIGIN}" in printed


def test_a_fresh_log_by_the_same_key_in_its_place(
    harness: GatewayHarness, pack: Path, tmp_path: Path
) -> None:
    signer = load_private_key(harness.state / "keys" / "answers.key")
    shutil.rmtree(pack / "logs" / FOLDER)
    with closing(AnswerLog.open(tmp_path / "fresh.db", ORIGIN, signer, SUBJECTS)) as fresh:
        fresh.append([an_answer()] * 3)
        folder = TileFolder(pack / "logs" / FOLDER, log_vkey(ORIGIN, signer))
        folder.grow(fresh.note, fresh.reader.entries(0, 3))
    status, printed = anchors(pack, DROPPED)
    assert status == 1
    assert "the anchor" in printed
