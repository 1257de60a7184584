"""The command line as people use it: what each command prints, and how it fails."""

import json
import re
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from click.testing import CliRunner

from sealgate.cli.main import main
from sealgate.reasons import Reason
from tests.support.harness.gateway import GatewayHarness, rows, running


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cli") / "state", "digits-standard") as harness:
        yield harness


def shown(harness: GatewayHarness, *words: str, person: str | None = None):
    result = harness.command(*words, "--json", person=person)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_whole_way_from_proposal_to_receipt(harness, tmp_path):
    proposal = shown(harness, "model", "propose", "digits", "1")["proposal"]
    for approver in ("approver-1", "approver-2"):
        approved = shown(harness, "model", "approve", proposal, "--meaning", "fit", person=approver)
    assert approved["approved_by"] == "approver-1, approver-2"
    pointer = shown(harness, "model", "promote", proposal, "--reason", "first")
    assert (pointer["sequence"], pointer["action"], pointer["version"]) == (1, "promote", 1)
    harness.await_version("digits", 1)
    np.savetxt(tmp_path / "rows.csv", rows(count=2), delimiter=",")
    receipt = tmp_path / "receipt.json"
    words = ("infer", "digits", "--input", str(tmp_path / "rows.csv"), "--receipt", str(receipt))
    answered = shown(harness, *words)
    # The labels of digits are the classes' numbers.
    classes = [str(np.argmax(row["value"])) for row in answered]
    assert [row["label"] for row in answered] == classes
    assert "label" in harness.command(*words).output.splitlines()[0]
    verified = shown(harness, "receipt", "verify", str(receipt))
    assert (verified["proof"], verified["model"], verified["outcome"]) == (
        "holds",
        "digits",
        "answered",
    )
    index = json.loads(receipt.read_text())["proof"].splitlines()[1].removeprefix("index ")
    answer = shown(harness, "audit", "show", "answers", index)
    assert (answer["principal"], answer["outcome"]) == ("client", "answered")
    assert float(answer["score"]) <= float(answer["threshold"])
    entry = shown(harness, "audit", "show", "registry", "0")
    assert entry["event"] == "policy.accepted"
    assert [log["found"] for log in shown(harness, "audit", "verify", "--wait", "60")] == [
        "intact",
        "intact",
    ]
    (move,) = shown(harness, "model", "history", "digits")
    assert move["reason"] == "first"


def test_entries_are_proved_in_cose_form(harness, tmp_path):
    plain, receipt, statement = (
        str(tmp_path / name) for name in ("receipt.json", "receipt.cose", "statement.cose")
    )
    for _ in range(2):
        # Each reading is an entry of the answer log.
        entry = shown(harness, "audit", "show", "registry", "0", "--statement", statement)
    stated = shown(harness, "receipt", "verify", statement)
    assert stated["log"].endswith("/registry")
    assert (stated["index"], stated["proof"]) == (0, "holds")
    assert stated["content_type"] == "application/vnd.sealgate.entry.v1+json"
    assert (stated["event"], stated["time"]) == ("policy.accepted", entry["time"])
    shown(harness, "audit", "show", "answers", "0", "--receipt", plain, "--statement", statement)
    answers = shown(harness, "receipt", "verify", statement)
    assert answers["content_type"] == "application/vnd.sealgate.answer.v2"
    made = harness.command("receipt", "cose", plain, receipt)
    assert made.exit_code == 0, made.output
    proved = shown(harness, "receipt", "verify", receipt, "--of", plain)
    assert (proved["log"], proved["proof"]) == (answers["log"], "holds")
    alone = harness.command("receipt", "verify", receipt)
    assert "name it with --of" in alone.output
    shown(harness, "audit", "show", "answers", "1", "--receipt", plain)
    other = harness.command("receipt", "verify", receipt, "--of", plain)
    assert (other.exit_code, Reason.SIGNATURE_INVALID.name in other.output) == (1, True)


def test_a_versions_evidence_is_shown_with_what_it_says(harness):
    output = harness.command("model", "show", "digits", "1").output
    for kind in ("golden-run", "format-scan", "watermark-check"):
        assert re.search(f"\n  {kind}, by publisher:\n    [a-z]", output), output
    assert not re.search(r"\d\.\d{6,}", output), output


def test_an_approver_reads_what_the_evidence_says(harness):
    proposal = harness.propose("digits", 1)
    result = harness.command("model", "approve", proposal.digest, "--meaning", "fit")
    assert result.exit_code == 0, result.output
    for said in ("same_class_as_fp32", "log10_bound", "attacks fgsm-0.1", "components ("):
        assert said in result.stderr


def test_what_people_say_about_a_proposal(harness):
    proposal = shown(harness, "model", "propose", "digits", "1", "--alias", "canary")["proposal"]
    waiting = ("model", "proposals", "--waiting-for", "me")
    assert proposal in {row["proposal"] for row in shown(harness, *waiting, person="approver-1")}
    assert proposal not in {row["proposal"] for row in shown(harness, *waiting, person="admin")}
    told = shown(harness, "model", "comment", proposal, "see row 17", person="approver-1")
    assert told["state"] == "open"
    shown(harness, "model", "approve", proposal, "--meaning", "fit", person="approver-1")
    assert proposal in {row["proposal"] for row in shown(harness, *waiting, person="admin")}
    for_approver = shown(harness, "model", "proposals", "--waiting-for", "approver-2")
    assert proposal not in {row["proposal"] for row in for_approver}
    ended = shown(harness, "model", "reject", proposal, "--reason", "no", person="approver-2")
    assert ended["state"] == "rejected"
    said = [(item["who"], item["what"], item["words"]) for item in ended["said"]]
    assert sorted(said) == [
        ("approver-1", "approved", "fit"),
        ("approver-1", "commented", "see row 17"),
        ("approver-2", "rejected", "no"),
    ]
    late = harness.command("model", "promote", proposal, "--reason", "late")
    assert late.exit_code == 1
    assert Reason.PROPOSAL_REJECTED.sentence in late.output
    listed = harness.command("model", "proposals")
    assert listed.exit_code == 0, listed.output
    assert "approver-1 commented at" in listed.output


def test_a_proposal_is_withdrawn_by_who_made_it(harness):
    proposal = shown(harness, "model", "propose", "digits", "1", "--alias", "shadow")["proposal"]
    other = harness.command("model", "withdraw", proposal, "--reason", "no", person="admin")
    assert other.exit_code == 1
    assert Reason.SIGNER_MISMATCH.sentence in other.output
    assert shown(harness, "model", "withdraw", proposal, "--reason", "no")["state"] == "withdrawn"


def test_a_command_whose_extra_is_missing_says_which(monkeypatch):
    entry = EntryPoint("serve", "no_such_module:serve [serve]", "sealgate.commands")
    monkeypatch.setattr("sealgate.cli.main.entry_points", lambda group: [entry])
    result = CliRunner().invoke(main, ["serve", "--config", "gateway.toml"])
    assert result.exit_code == 1
    assert "`serve` needs no_such_module, which the serve extra brings" in result.output


def test_what_is_listed_and_shown(harness):
    assert shown(harness, "model", "list")[0]["model"] == "digits"
    (version,) = shown(harness, "model", "list", "digits")
    assert version["publisher"] == "publisher"
    found = shown(harness, "model", "show", "digits", "1")
    assert {item["file"] for item in found["files"]} >= {"model.int8.onnx", "golden.safetensors"}
    assert {item["kind"] for item in found["evidence"]} >= {"mlbom", "watermark-check"}


@pytest.mark.parametrize(
    "words",
    [
        ("model", "list"),
        ("model", "list", "digits"),
        ("model", "show", "digits", "1"),
        ("audit", "verify", "--wait", "60"),
    ],
)
def test_tables_are_for_people(harness, words):
    result = harness.command(*words)
    assert result.exit_code == 0, result.output
    assert "digits" in result.output or "intact" in result.output


@pytest.mark.parametrize(
    ("words", "person", "said"),
    [
        (("model", "show", "digits", "9"), None, Reason.VERSION_UNKNOWN.name),
        (("model", "list", "none"), None, Reason.MODEL_UNKNOWN.name),
        (("model", "promote", "sha256:" + "0" * 64, "--reason", "x"), None, "PROPOSAL_UNKNOWN"),
        (("model", "list"), "client", "takes the role admin or approver or auditor or "),
        (("audit", "show", "registry", "0"), "admin", "takes the role auditor; --as NAME"),
        (("model", "rollback", "digits", "7", "--reason", "x"), None, "ROLLBACK_TARGET"),
        (("audit", "show", "nothing", "0"), None, "is not one log"),
        (("model", "list"), "nobody", "name a person with --as"),
        (("modle",), None, "Did you mean 'model'?"),
        (("model", "promot"), None, "Did you mean 'promote'?"),
        (("serve", "--config", "nowhere.toml"), None, "sealgate init"),
        (("init",), None, "is not empty"),
    ],
)
def test_errors_help(harness, words, person, said):
    result = harness.command(*words, person=person)
    assert result.exit_code != 0
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_receipt_that_is_none(harness, tmp_path):
    path = tmp_path / "receipt.json"
    path.write_text("{}")
    result = harness.command("receipt", "verify", str(path))
    assert result.exit_code == 1
    assert Reason.DOCUMENT_MALFORMED.name in result.output


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rows.csv", "a,b\n", "has no rows, or rows of other lengths than its header"),
        ("rows.csv", "1,2\n3\n", "its rows differ in length"),
        ("rows.csv", "", "holds no rows"),
        ("rows.npy", "a,b\n", "it is not a .npy file"),
        ("rows.npy", "", "it is not a .npy file"),
    ],
)
def test_input_that_is_no_table(harness, tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    result = harness.command("infer", "digits", "--input", str(path))
    assert result.exit_code == 1
    assert said in result.output
    assert "pickle" not in result.output


def test_a_receipt_that_cannot_be_written(harness, tmp_path):
    harness.promote("digits", 1)
    table = tmp_path / "rows.csv"
    np.savetxt(table, rows(count=1), delimiter=",")
    receipt = tmp_path / "nowhere" / "receipt.json"
    words = ("infer", "digits", "--input", str(table), "--receipt", str(receipt))
    result = harness.command(*words)
    assert result.exit_code == 1
    assert f"{receipt}: No such file or directory" in result.output


def test_an_answer_fits_a_terminal(harness, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    harness.promote("digits", 1)
    table = tmp_path / "rows.csv"
    np.savetxt(table, rows(count=2), delimiter=",")
    result = harness.command("infer", "digits", "--input", str(table))
    assert len(result.stdout.splitlines()) == 3


def test_without_a_gateway_it_says_so(tmp_path):
    harness = GatewayHarness(tmp_path / "state")
    result = harness.command("model", "list")
    assert result.exit_code == 1
    assert "is `sealgate serve` running?" in result.output


def commands(harness: GatewayHarness) -> list[tuple[str, ...]]:
    top = ("audit", "infer", "init", "model", "receipt", "serve", "token")
    model = ("publish", "list", "show", "propose", "approve", "promote", "rollback", "revoke")
    return [
        *((name,) for name in top),
        *(("model", name) for name in (*model, "history", "attach")),
        ("audit", "verify"),
        ("audit", "show"),
        ("receipt", "verify"),
    ]


def test_every_command_has_help_with_an_example(harness):
    for words in commands(harness):
        result = harness.command(*words, "--help")
        assert result.exit_code == 0, words
        if words not in (("audit",), ("model",), ("receipt",)):
            assert "Example" in result.output, words


def test_a_token_for_another_subject(harness):
    result = harness.command("token", "client", "--hours", "1")
    assert result.exit_code == 0
    assert result.output.count(".") == 2


def test_keys_are_private_and_the_roots_apart(harness):
    for path in harness.state.rglob("*.key"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert len(list((harness.state / "roots").iterdir())) == 3


def test_git_does_not_see_an_installation(harness):
    assert (harness.state / ".gitignore").read_text() == "*\n"
