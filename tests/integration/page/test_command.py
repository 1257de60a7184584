"""`sealgate receipt page`, on a real installation with a real answer's receipt."""

import numpy as np
import pytest
from click.testing import CliRunner

from sealgate.cli.main import main
from sealgate.reasons import Reason
from tests.support.builders.documents.people import sign_policy
from tests.support.builders.documents.receipts import policy_in_force
from tests.support.harness.gateway import ROOT, rows, running

BLANK = ROOT / "docs" / "receipt.html"


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("page") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


def test_an_answers_receipt_holds_on_the_page_of_its_installation(harness, page, tmp_path):
    file, receipt, table = tmp_path / "page.html", tmp_path / "receipt.json", tmp_path / "rows.csv"
    made = harness.command("receipt", "page", str(file), person="auditor")
    assert made.exit_code == 0, made.output
    for keyid in harness.profile("auditor").pinned_roots():
        assert keyid in made.output
    np.savetxt(table, rows(count=2), delimiter=",")
    words = ("infer", "digits", "--input", str(table), "--receipt", str(receipt))
    assert harness.command(*words).exit_code == 0
    page.open(file)
    page.drop(receipt)
    assert page.verdict() == "holds"
    assert set(page.steps().values()) == {"holds"}
    assert "digits, version 1" in page.find("#summary").text


def test_the_receipt_of_another_installation_is_refused_there(harness, page, carrying, tmp_path):
    receipt, table = tmp_path / "receipt.json", tmp_path / "rows.csv"
    np.savetxt(table, rows(), delimiter=",")
    harness.command("infer", "digits", "--input", str(table), "--receipt", str(receipt))
    page.open(carrying)
    page.choose(receipt)
    assert page.verdict() == "broken"
    assert page.steps()["receipt-2"] == "broken"


def test_a_policy_that_the_pinned_roots_did_not_sign_is_not_carried(harness, tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_bytes(sign_policy(policy_in_force()).encode())
    file = tmp_path / "page.html"
    result = harness.command("receipt", "page", str(file), "--policy", str(policy))
    assert result.exit_code == 1
    assert Reason.THRESHOLD_NOT_MET.name in result.output
    assert not file.exists()


def test_a_page_carries_a_policy_or_does_not(harness, tmp_path):
    policy = harness.state / "trust" / "policy.json"
    words = ("receipt", "page", str(tmp_path / "page.html"), "--without-policy")
    assert harness.command(*words, "--policy", str(policy)).exit_code == 2


def test_the_page_in_docs_is_what_the_command_writes(tmp_path):
    """If not: `sealgate receipt page docs/receipt.html --without-policy`. It needs no state."""
    file = tmp_path / "page.html"
    words = ["--state", str(tmp_path), "receipt", "page", str(file), "--without-policy"]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert file.read_bytes() == BLANK.read_bytes()
