"""A backup of a gateway at work, put back; and what is refused because it would go back in time."""

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from tests.support.harness.gateway import GatewayHarness, question, rows

pytestmark = pytest.mark.slow

DATABASES = ("registry", "answers", "subjects")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayHarness]:
    monkeypatch.chdir(tmp_path)
    harness = GatewayHarness(tmp_path / "state", "digits-standard")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nanchor_every = 1.0\n")
    harness.start()
    harness.promote("digits", 1)
    yield harness
    harness.stop()


def ask(harness: GatewayHarness, subject: str = "") -> bytes:
    asked = question("digits", rows(), receipt=True)
    if subject:
        asked.parameters["subject"].string_param = subject
    answer = harness.inference().ModelInfer(asked, timeout=60)
    return answer.parameters["receipt"].string_param.encode()


def run(harness: GatewayHarness, *words: str, code: int = 0, person: str | None = None) -> str:
    result = harness.command(*words, person=person)
    assert result.exit_code == code, result.output
    return result.output


def back_up(harness: GatewayHarness, folder: Path) -> dict:
    found: dict = json.loads(run(harness, "backup", str(folder), "--json"))
    return found


def lose(harness: GatewayHarness, *names: str) -> None:
    for name in names:
        for path in harness.state.glob(f"{name}.db*"):
            path.unlink()


def forget(harness: GatewayHarness) -> None:
    """Lose what the gateway remembers of the logs, as on a new machine."""
    for path in (harness.state / "seen.json", *harness.state.glob("seen-*.note")):
        path.unlink(missing_ok=True)


def find(harness: GatewayHarness, subject: str) -> list:
    told = run(harness, "audit", "find", "--subject", subject, "--json", person="auditor")
    found: list = json.loads(told)["decisions"]
    return found


def test_a_backup_is_put_back_and_verifies(harness: GatewayHarness, tmp_path: Path) -> None:
    receipt = ask(harness)
    (tmp_path / "receipt.json").write_bytes(receipt)
    harness.stop()
    made = back_up(harness, tmp_path / "backup")
    assert set(made["databases"]) == set(DATABASES)
    assert made["artifacts"] > 0
    lose(harness, *DATABASES)
    shutil.rmtree(harness.state / "artifacts")
    with pytest.raises(SealgateError, match="`sealgate restore FOLDER` of the newest") as caught:
        harness.start()
    assert caught.value.reason is Reason.LOG_INCONSISTENT
    lose(harness, *DATABASES)
    told = run(harness, "restore", str(tmp_path / "backup"))
    assert "sealgate doctor, then sealgate serve" in told
    harness.start()
    harness.await_version("digits", 1)
    ask(harness)
    run(harness, "audit", "verify", "--wait", "60", person="auditor")
    run(harness, "receipt", "verify", str(tmp_path / "receipt.json"), person="auditor")


def test_a_backup_beside_a_gateway_at_work_is_refused_once_it_is_outdated(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    ask(harness)
    back_up(harness, tmp_path / "backup")
    told = run(harness, "restore", str(tmp_path / "backup"), code=1)
    assert "a gateway listens at" in told
    ask(harness)
    harness.stop()
    before = {name: (harness.state / f"{name}.db").read_bytes() for name in DATABASES}
    told = run(harness, "restore", str(tmp_path / "backup"), code=1)
    assert Reason.LOG_INCONSISTENT.name in told
    assert "nothing was changed" in told
    assert "sealgate log begin house.localhost/answers-" in told
    assert {n: (harness.state / f"{n}.db").read_bytes() for n in DATABASES} == before
    harness.start()
    ask(harness)


def test_what_others_have_seen_counts_where_the_gateway_has_forgotten(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    ask(harness)
    back_up(harness, tmp_path / "backup")
    np.save(tmp_path / "row.npy", rows())
    run(harness, "infer", "digits", "--input", str(tmp_path / "row.npy"), person="client")
    known = harness.state / "people" / "client" / "witness.json"
    harness.stop()
    forget(harness)
    told = run(harness, "restore", str(tmp_path / "backup"), "--known", str(known), code=1)
    assert f"{known} has seen" in told
    run(harness, "restore", str(tmp_path / "backup"))


def test_an_erasure_after_the_backup_is_respected(harness: GatewayHarness, tmp_path: Path) -> None:
    ask(harness, "patient-1")
    ask(harness, "patient-2")
    back_up(harness, tmp_path / "backup")
    run(harness, "subject", "erase", "patient-1", "--yes", person="admin")
    assert find(harness, "patient-1") == []
    harness.stop()
    # Everything but the digests of destroyed keys is lost, and so is the registry.
    forget(harness)
    lose(harness, *DATABASES)
    told = json.loads(run(harness, "restore", str(tmp_path / "backup"), "--json"))
    assert told["destroyed_keys"] == 1
    harness.start()
    harness.await_version("digits", 1)
    assert find(harness, "patient-1") == []
    assert len(find(harness, "patient-2")) == 1


def test_what_is_no_backup_is_refused(harness: GatewayHarness, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(harness, backup)
    assert "is not empty" in run(harness, "backup", str(backup), code=1)
    harness.stop()
    with (backup / "answers.db").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    told = run(harness, "restore", str(backup), code=1)
    assert Reason.DIGEST_MISMATCH.name in told
    (backup / "backup.json").unlink()
    told = run(harness, "restore", str(backup), code=1)
    assert Reason.DOCUMENT_MALFORMED.name in told
    assert not list(harness.state.glob(".*.restoring*"))
    configuration = harness.state / "gateway.toml"
    text = configuration.read_text()
    url = "postgresql+psycopg://sealgate:secret@db/answers?application_name=gateway"
    configuration.write_text(text.replace('"answers.db"', f'"{url}"'))
    told = run(harness, "backup", str(tmp_path / "other"), code=1)
    shown = "'postgresql://sealgate@db/answers?application_name=gateway'"
    assert f"pg_dump --format=custom --schema=answers --file=answers.dump {shown}" in told
    told = run(harness, "restore", str(backup), code=1)
    assert f"--single-transaction --dbname={shown} answers.dump" in told


def test_subjects_are_kept_apart(harness: GatewayHarness, tmp_path: Path) -> None:
    apart, backup = tmp_path / "apart", tmp_path / "backup"
    harness.stop()
    run(harness, "backup", str(backup), "--subjects", str(apart))
    assert not (backup / "subjects.db").exists()
    assert "--subjects" in run(harness, "restore", str(backup), code=1)
    told = run(harness, "restore", str(backup), "--subjects", str(apart))
    # The replaced databases are kept; they hold keys of people.
    assert told.count(".before-") == len(DATABASES)
    assert "an erasure does not reach the keys of subjects" in told


def test_subjects_may_be_kept_on_another_file_system(
    harness: GatewayHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is moved there afterwards: the keys of people were never beside the other copies."""
    moved = os.replace

    def within_one(source: Path, target: Path) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        moved(source, target)

    harness.stop()
    monkeypatch.setattr(os, "replace", within_one)
    monkeypatch.setattr(os, "rename", within_one)
    run(harness, "backup", str(tmp_path / "backup"), "--subjects", str(tmp_path / "apart"))
    assert (tmp_path / "apart" / "subjects.db").stat().st_mode & 0o077 == 0


def test_an_answer_log_that_is_lost_for_good_is_followed_by_another(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    old = ask(harness)
    (tmp_path / "old.json").write_bytes(old)
    harness.stop()
    lose(harness, "answers")
    with pytest.raises(SealgateError, match="`sealgate log begin NEW-ORIGIN`"):
        harness.start()
    told = run(harness, "log", "begin", "house.localhost/answers-2")
    assert " log begin --policy policy-2.signed.json" in told
    for file, number in (("policy-2.json", 1), ("policy-2.signed.json", 2)):
        key = str(harness.state / "roots" / f"root-{number}.key")
        chain = ("--policy", str(harness.state / "trust" / "policy.json"))
        run(harness, "policy", "sign", file, "--yes", "--key", key, *chain)
    run(harness, "log", "begin", "--policy", "policy-2.signed.json")
    harness.start()
    harness.await_version("digits", 1)
    (tmp_path / "new.json").write_bytes(ask(harness))
    run(harness, "policy", "fetch")
    for name in ("old.json", "new.json"):
        run(harness, "receipt", "verify", str(tmp_path / name), person="auditor")
    # The missing log is reported until an auditor has seen it elsewhere.
    told = run(harness, "audit", "verify", "--wait", "60", code=3, person="auditor")
    assert Reason.LOG_UNSEEN.name in told
    elsewhere = ("--elsewhere", "house.localhost/answers")
    run(harness, "audit", "verify", "--wait", "60", *elsewhere, person="auditor")
    harness.stop()
    assert "already" in run(harness, "log", "begin", "house.localhost/answers", code=1)


def test_a_log_is_begun_with_one_of_origin_and_policy(harness: GatewayHarness) -> None:
    assert "name the new log's ORIGIN" in run(harness, "log", "begin", code=2)


def test_another_log_takes_no_file_that_is_there(harness: GatewayHarness) -> None:
    assert "a gateway listens at" in run(harness, "log", "begin", "house.localhost/other", code=1)
    harness.stop()
    configuration = harness.state / "gateway.toml"
    before = configuration.read_bytes()
    for name in ("registry", "subjects"):
        told = run(harness, "log", "begin", f"house.localhost/other/{name}", code=1)
        assert f"{name}.db is there already" in told
    for name in ("", "..", 'a"b'):
        told = run(harness, "log", "begin", f"house.localhost/other/{name}", code=1)
        assert "names no file" in told
    assert configuration.read_bytes() == before


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_of_a_later_release_is_refused(harness: GatewayHarness, name: str) -> None:
    harness.stop()
    with closing(sqlite3.connect(harness.state / f"{name}.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'later'")
        database.commit()
    with pytest.raises(ConfigError, match=r"REGISTRY_UNAVAILABLE.*later"):
        harness.start()


def test_damaged_memory_of_erasures_is_told(harness: GatewayHarness) -> None:
    harness.stop()
    (harness.state / "seen-erased.json").write_text("{")
    with pytest.raises(ConfigError, match=r"seen-erased\.json cannot be read"):
        harness.start()
