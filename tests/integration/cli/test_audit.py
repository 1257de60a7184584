"""An auditor's commands against a whole installation."""

import json
import re
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.keys import load_private_key
from sealgate.trust.receipts import Receipt
from sealgate.trust.times import format_time
from tests.support.harness.gateway import GatewayHarness, question, rows


class Told:
    """A gateway's events and their times."""

    def __init__(self, harness: GatewayHarness) -> None:
        self.harness = harness
        self.before = format_time(datetime.now(UTC) - timedelta(seconds=1))
        harness.publish("digits-standard", "digits")
        harness.publish("digits-hardened", "digits")
        harness.promote("digits", 1)
        self.receipt = self.ask()
        self.first = format_time(datetime.now(UTC))
        # Times in the log are to the second.
        _await_second(self.first)
        harness.promote("digits", 2)
        self.later = self.ask()
        harness.governance("admin").rollback("digits", "production", 1, "complaints")
        harness.await_version("digits", 1)

    def ask(self) -> bytes:
        asked = question("digits", rows(), receipt=True)
        answer = self.harness.inference().ModelInfer(asked, timeout=60)
        return answer.parameters["receipt"].string_param.encode()

    def about(self, subject: str, identifier: str = "") -> None:
        """Ask about a subject, by an id of the caller's own."""
        asked = question("digits", rows())
        asked.parameters["subject"].string_param = subject
        asked.id = identifier
        self.harness.inference().ModelInfer(asked, timeout=60)

    def audit(self, *words: str, code: int = 0):
        result = self.harness.command("audit", *words, "--json", person="auditor")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def digest(self, version: int) -> str:
        shown = self.harness.command("model", "show", "digits", str(version), "--json")
        return json.loads(shown.stdout)["digest"]

    def decision(self, tmp_path, receipt: bytes, code: int = 0) -> list[dict]:
        path = tmp_path / "receipt.json"
        path.write_bytes(receipt)
        return self.audit("decision", str(path), "--wait", "60", code=code)


def _await_second(moment: str) -> None:
    while format_time(datetime.now(UTC)) <= moment:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    harness = GatewayHarness(tmp_path_factory.mktemp("cli-audit") / "state")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nanchor_every = 1.0\n")
    harness.start()
    try:
        yield Told(harness)
    finally:
        harness.stop()


def test_what_was_live_at_a_time(told):
    assert told.audit("as-of", told.before) == []
    (then,) = told.audit("as-of", told.first, "digits")
    assert (then["version"], then["sequence"], then["admin"]) == (1, 1, "admin")
    assert then["digest"] == told.digest(1)
    assert then["until"] > told.first
    (now,) = told.audit("as-of", format_time(datetime.now(UTC)))
    assert (now["version"], now["sequence"], now["action"]) == (1, 3, "rollback")
    assert now["until"] == ""
    assert told.audit("as-of", told.first, "others") == []


def test_a_time_that_is_to_come(told):
    result = told.harness.command("audit", "as-of", "2126-01-01", person="auditor")
    assert result.exit_code == 2


def test_one_answer_leads_to_exact_bytes(told, tmp_path):
    findings = told.decision(tmp_path, told.receipt)
    assert {finding["found"] for finding in findings} == {"holds"}
    steps = [finding["step"] for finding in findings]
    assert list(dict.fromkeys(steps)) == [
        *("receipt", "anchor", "request", "policy", "version", "publisher", "pointer"),
        *("approvals", "evidence", "freshness", "revocation", "screening"),
    ]
    text = json.dumps(findings)
    for said in (told.digest(1), "model.int8.onnx", "approver-1", "approver-2", "reviewed"):
        assert said in text
    assert {"golden-run", "watermark-check"} <= {
        f["what"].partition(" ")[0] for f in findings if f["step"] == "evidence"
    }


def test_an_answer_of_a_pointer_that_was_replaced_since(told, tmp_path):
    findings = told.decision(tmp_path, told.later)
    assert {finding["found"] for finding in findings} == {"holds"}
    assert told.digest(2) in json.dumps(findings)


def test_an_answer_that_no_anchor_covers_yet_does_not_simply_hold(told, tmp_path):
    """Only the answer log's key vouches for entries after the newest anchor."""
    path = tmp_path / "receipt.json"
    newest, patience = "", time.monotonic() + 60
    while "ENTRY_UNANCHORED" not in newest and time.monotonic() < patience:
        path.write_bytes(told.ask())
        result = told.harness.command("audit", "decision", str(path), "--json", person="auditor")
        newest = result.stdout
    assert result.exit_code == 3
    unanchored = [f["step"] for f in json.loads(newest) if f["found"] != "holds"]
    assert unanchored == ["anchor"]
    assert {f["found"] for f in told.decision(tmp_path, path.read_bytes())} == {"holds"}


def test_a_forged_receipt_ends_the_examination(told, tmp_path):
    forged = told.receipt.replace(b'"value":"answered"', b'"value":"refused!"')
    (finding,) = told.decision(tmp_path, forged, code=1)
    assert finding["found"].startswith("PROOF_INVALID")


def test_an_answer_that_came_to_no_version(told, tmp_path):
    asked = question("digits", rows(), receipt=True)
    asked.model_name = "nothing"
    receipt = None
    try:
        told.harness.inference().ModelInfer(asked, timeout=60)
    except Exception as error:
        metadata = dict(error.trailing_metadata())  # type: ignore[attr-defined]
        receipt = metadata["sealgate-receipt-bin"]
    findings = told.decision(tmp_path, receipt)
    assert [finding["step"] for finding in findings] == ["receipt", "anchor", "request", "policy"]


def test_what_a_version_touches(told):
    for target in ("digits/2", told.digest(2)):
        found = told.audit("blast-radius", target)
        assert [f["kind"] for f in found["registry"]] == ["version", "proposal", "pointer"]
        assert [a["pointer_sequence"] for a in found["answers"]] == ["2"]
    assert found["unopened"] == {}
    assert told.audit("blast-radius", "digits/2", "--whole")["answers"] == found["answers"]


def test_what_a_key_touches(told):
    keys = told.harness.state / "people"
    profile = told.harness.profile("approver-1")
    assert keys in profile.signing_key.parents
    approver = load_private_key(profile.signing_key).public.keyid
    found = told.audit("blast-radius", approver)
    kinds = [f["kind"] for f in found["registry"]]
    assert kinds.count("approval") == 2
    assert kinds.count("pointer") == 3
    receipts = [Receipt.decode(receipt) for receipt in (told.receipt, told.later)]
    assert {r.proof.index for r in receipts} <= {a["entry"] for a in found["answers"]}


def test_what_a_publishers_key_touches(told):
    key = load_private_key(told.harness.profile("publisher").model_signing_key)
    found = told.audit("blast-radius", key.public.keyid)["registry"]
    versions = [f for f in found if f["kind"] == "version"]
    assert [f["how"] for f in versions] == ["signed its files"] * 2
    assert [f["kind"] for f in found].count("pointer") == 3


def test_what_a_logs_key_touches(told):
    key = load_private_key(told.harness.state / "keys" / "answers.key")
    found = told.audit("blast-radius", key.public.keyid)
    assert [f["kind"] for f in found["registry"]] == ["log"]
    assert found["answers"][0]["entry"] == 0


def test_a_key_that_nobody_has(told):
    result = told.harness.command("audit", "blast-radius", "0" * 64, person="auditor")
    assert result.exit_code == 1
    assert Reason.KEY_UNKNOWN.name in result.output
    result = told.harness.command("audit", "blast-radius", "digits/9", person="auditor")
    assert Reason.VERSION_UNKNOWN.name in result.output


def test_what_a_threshold_touches(told):
    answers = told.audit("blast-radius", "digits/2")["answers"]
    found = told.audit("blast-radius", answers[0]["threshold"])
    assert {a["version"] for a in found["answers"]} == {"2"}
    assert [f["what"] for f in found["registry"] if f["kind"] == "version"] == [
        "models/digits/versions/2"
    ]


def test_answers_come_in_bounded_pages(told):
    key = load_private_key(told.harness.state / "keys" / "answers.key").public.keyid
    first = told.audit("blast-radius", key, "--limit", "2")
    assert [a["entry"] for a in first["answers"]] == [0, 1]
    ((_, at),) = first["next"].items()
    following = told.audit("blast-radius", key, "--limit", "2", "--from", str(at))
    assert [a["entry"] for a in following["answers"]] == [2, 3]


def test_who_read_the_audit_data(told):
    told.audit("as-of", told.first)
    reads = told.audit("readers")
    last = [read for read in reads if read["method"] == "GetLiveAt"][-1]
    assert last["principal"] == "auditor"
    assert json.loads(last["asked"]) == {"time": told.first}
    assert told.audit("readers", "--by", "client") == []
    assert len(told.audit("readers", "--limit", "1")) == 1


def edited(source, target, statement: str) -> str:
    """A copy of the registry's database in which somebody changed something."""
    copy = target / "copy.db"
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(copy)) as database:
        original.backup(database)
        database.execute(statement)
        database.commit()
    return str(copy)


def test_a_database_that_is_what_its_log_says(told):
    place = str(told.harness.state / "registry.db")
    assert told.audit("rebuild", "--database", place) == []
    shown = told.harness.command("audit", "rebuild", "--database", place, person="auditor")
    assert shown.exit_code == 0
    assert "differences  0" in shown.stdout


def test_an_edited_database(told, tmp_path):
    place = edited(
        told.harness.state / "registry.db",
        tmp_path,
        "UPDATE approvals SET principal = 'mallory' WHERE principal = 'approver-1'",
    )
    found = told.audit("rebuild", "--database", f"sqlite:///{place}", code=1)
    assert {(f["table"], f["column"], f["edit"]) for f in found} == {
        ("approvals", "principal", "altered")
    }
    assert [(f["log"], f["database"]) for f in found] == [("approver-1", "mallory")] * 2
    first = told.audit("rebuild", "--database", place, "--limit", "1", code=1)
    assert first == found[:1]


def test_a_database_that_is_not_there(told, tmp_path):
    missing = tmp_path / "nothing.db"
    result = told.harness.command("audit", "rebuild", "--database", str(missing), person="auditor")
    assert Reason.REGISTRY_UNAVAILABLE.name in result.output
    assert not missing.exists()


def test_a_decision_is_found_without_a_receipt(told, tmp_path):
    told.about("patient-4711", "case-4711")
    day = format_time(datetime.now(UTC))[:10]
    (found,) = told.audit("find", "--request-id", "case-4711")["decisions"]
    for words in (
        ("--caller", "client", "--since", found["time"], "--until", day),
        ("--subject", "patient-4711", "--model", "digits", "--outcome", "answered"),
    ):
        assert told.audit("find", *words, "--limit", "1")["decisions"] == [found]
    path = tmp_path / "found.json"
    told.audit("show", "answers", str(found["entry"]), "--receipt", str(path))
    assert Receipt.decode(path.read_bytes()).proof.index == found["entry"]
    page = tmp_path / "case.html"
    steps = told.audit("decision", str(path), "--wait", "60", "--page", str(page))
    assert {step["found"] for step in steps} == {"holds"}
    text = page.read_text()
    assert "every step holds" in text
    assert f"sealgate audit show {found['log']} {found['entry']}" in text
    assert all(
        digest in text for step in steps for digest in re.findall("sha256:\\w+", step["what"])
    )
    asked = [row["asked"] for row in told.audit("readers") if row["method"] == "StreamOpenings"]
    assert any("case-4711" in text for text in asked)


def test_a_search_goes_on_where_it_ended_and_must_name_something(told):
    first = told.audit("find", "--caller", "client", "--limit", "1")
    (origin,) = first["next"]
    rest = told.audit("find", "--caller", "client", "--from", str(first["next"][origin]))
    whole = told.audit("find", "--caller", "client")["decisions"]
    assert len(whole) > 1
    assert first["decisions"] + rest["decisions"] == whole
    result = told.harness.command("audit", "find", person="auditor")
    assert result.exit_code == 2
    assert "say what to find" in result.output
    result = told.harness.command(
        "audit", "show", "registry", "0", "--receipt", "r.json", person="auditor"
    )
    assert "only entries of an answer log have receipts" in result.output


def test_a_verification_goes_on_where_the_last_one_ended(told, tmp_path):
    known = tmp_path / "verified.json"
    words = ("verify", "--wait", "60", "--known", str(known))
    first = {row["log"]: row for row in told.audit(*words)}
    (answers,) = (log for log in first if log.endswith("/answers"))
    assert first[answers]["known"] == 0
    told.ask()
    second = {row["log"]: row for row in told.audit(*words)}
    assert second[answers]["known"] == first[answers]["entries"] < second[answers]["entries"]
    assert f"the first {first[answers]['entries']} verified before" in second[answers]["found"]
    # The log as it was seen before must be a prefix of the log as it is now.
    document = json.loads(known.read_text())
    lines = document["logs"][answers].split("\n")
    lines[2] = "A" * 43 + "="
    document["logs"][answers] = "\n".join(lines)
    known.write_bytes(canonical.encode(document))
    rows = {row["log"]: row for row in told.audit(*words, code=1)}
    assert rows[answers]["reason"] == Reason.LOG_INCONSISTENT.name


def test_an_erased_subject_is_not_found(told):
    told.about("patient-12")
    assert len(told.audit("find", "--subject", "patient-12")["decisions"]) == 1
    result = told.harness.command("subject", "erase", "patient-12", "--yes", person="admin")
    assert result.exit_code == 0, result.output
    assert told.audit("find", "--subject", "patient-12")["decisions"] == []
