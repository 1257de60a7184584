"""A witness that we did not write, `aics-witness`, cosigns our checkpoints (Python 3.12)."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stage import free_ports
from gateway.config.optional_sections import WitnessSettings
from gateway.cosigning.cosignatures import CosignatureStore
from gateway.cosigning.updates import Contradiction, WitnessUnreachable, post, submit
from sealgate.trust.transparency.checkpoint import cosignatures
from tests.support.builders.documents.people import ANSWER_LOG
from tests.support.fakes.growing_log import GrowingLog
from tests.support.harness.servers.witness_server import serving_witness
from tests.support.oracles import programs

_CHECK = """
import sys, json
from aics_tlog import parse_checkpoint, parse_note, parse_vkey, verify_cosignature
given = json.load(sys.stdin)
note = parse_note(given["note"])
state = parse_checkpoint(note.text)
key = parse_vkey(given["key"])
lines = [line for line in note.signatures if (line.name, line.key_id) == (key.name, key.key_id)]
told = (key.name, key.public_key, state.origin, state.size, state.root)
print(sum(verify_cosignature(line.signature, *told) for line in lines))
"""


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessSettings]:
    python = programs.own_python_with("aics_witness")
    config, port = tmp_path / "witness.json", free_ports()
    command = [python, "-m", "aics_witness"]
    where = ["--config", str(config)]
    listen = ["--name", "foreign.example", "--listen", f"127.0.0.1:{port}"]
    made = programs.run([*command, "init", *where, *listen])
    assert made.returncode == 0, made.stderr
    log = ["--origin", ANSWER_LOG, "--vkey", GrowingLog().vkey]
    added = programs.run([*command, "add-log", *where, *log])
    assert added.returncode == 0, added.stderr
    process = subprocess.Popen([*command, "serve", *where], stderr=subprocess.PIPE, text=True)
    settings = WitnessSettings(f"http://127.0.0.1:{port}", made.stdout.strip())
    try:
        _await(settings, process)
        yield settings
    finally:
        process.terminate()
        process.wait(60)
        if process.stderr is not None:
            process.stderr.close()


def _await(settings: WitnessSettings, process: subprocess.Popen[str]) -> None:
    """It says on standard error when it listens."""
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(r"listen|serving", line):
            break
    for _ in range(100):
        try:
            post(settings, b"")
            return
        except WitnessUnreachable:
            assert process.poll() is None


def test_it_cosigns_and_we_verify(tmp_path: Path, witness: WitnessSettings) -> None:
    log, kept = GrowingLog("a", "b", "c"), CosignatureStore(tmp_path / "w.json", [witness.witness])
    submit(log, witness, kept)
    log.grow(*map(str, range(300)))
    submit(log, witness, kept)
    (found,) = cosignatures(kept.best(ANSWER_LOG), [witness.witness])
    assert found.witness == "foreign.example"
    # A gateway that has forgotten is told where the witness is.
    log.grow("d")
    forgetful = CosignatureStore(tmp_path / "x.json", [witness.witness])
    submit(log, witness, forgetful)
    assert cosignatures(forgetful.best(ANSWER_LOG), [witness.witness])


def test_it_refuses_what_we_call_a_contradiction(tmp_path: Path, witness: WitnessSettings) -> None:
    submit(GrowingLog("a", "b"), witness, CosignatureStore(tmp_path / "w.json", [witness.witness]))
    for leaves in (("a",), ("a", "X"), ("a", "X", "c")):
        kept = CosignatureStore(tmp_path / "forgot.json", [witness.witness])
        with pytest.raises(Contradiction):
            submit(GrowingLog(*leaves), witness, kept)


def test_its_verifier_accepts_our_witness(tmp_path: Path) -> None:
    python = programs.own_python_with("aics_witness")
    log = GrowingLog("a", "b", "c")
    with serving_witness(tmp_path / "witness.db", {ANSWER_LOG: log.vkey}) as settings:
        kept = CosignatureStore(tmp_path / "w.json", [settings.witness])
        submit(log, settings, kept)
    note = kept.best(ANSWER_LOG)
    for text, number in ((note, "1"), (note.replace("\n3\n", "\n4\n"), "0")):
        given = json.dumps({"note": text, "key": settings.key})
        result = programs.run([python, "-c", _CHECK], given)
        assert (result.returncode, result.stdout.strip()) == (0, number), result.stderr
