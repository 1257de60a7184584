"""A gateway of this release over the state that release 0.1 filled: `tests/vectors/state-0.1`."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sealgate.setup.installation import Installation, Ports
from sealgate.steady_clock import now
from sealgate.trust.times import format_time
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.policy_changes import accept

FILLED = Path("tests/vectors/state-0.1/state.tar.xz").absolute()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    folder = tmp_path_factory.mktemp("upgrade")
    with tarfile.open(FILLED) as archive:
        archive.extractall(folder / "filled", filter="data")
    # Certificates and tokens of that day have ended by now, and so may have the policy.
    Installation(folder / "new", "sealgate", now(), Ports(), passphrase=None).make()
    for path in (*(folder / "new").glob("people/*/*"), *(folder / "new").glob("[it]*[lr]*/*")):
        name = path.relative_to(folder / "new")
        renewed = path.name.startswith(("tls.", "token.")) or name.parts[0] in ("tls", "issuer")
        # There are people now whom that release did not have.
        if renewed and (folder / "filled" / name).parent.is_dir():
            shutil.copyfile(path, folder / "filled" / name)
    harness = GatewayHarness(folder / "state", copied=folder / "filled")
    harness.start()
    accept(harness, expires=format_time(now() + timedelta(days=365)))
    harness.await_version("breast-cancer", 1)
    yield harness
    harness.stop()


def found(harness: GatewayHarness, *words: str) -> list[str]:
    """The request ids of the entries that a search shows."""
    told = harness.command("audit", "find", *words, "--json")
    assert told.exit_code == 0, told.output
    return [row["request_id"] for row in json.loads(told.stdout)["decisions"]]


def test_the_version_of_then_answers(harness: GatewayHarness) -> None:
    asked = question("breast-cancer", rows("breast-cancer"))
    assert harness.inference().ModelInfer(asked, timeout=60).model_version == "1"


def test_the_logs_and_receipts_of_then_verify(harness: GatewayHarness) -> None:
    told = harness.command("audit", "verify", "--wait", "60", "--json")
    assert told.exit_code == 0, told.output
    assert {row["found"].partition(";")[0] for row in json.loads(told.stdout)} == {"intact"}
    told = harness.command("receipt", "verify", str(harness.state / "receipt.json"))
    assert told.exit_code == 0, told.output


def test_answers_of_then_are_found_and_who_was_erased_is_not(harness: GatewayHarness) -> None:
    assert len(found(harness, "--subject", "patient-2")) == 6
    assert found(harness, "--subject", "patient-3") == []
    erased = harness.command("subject", "erased", "patient-3", "--json")
    assert len(json.loads(erased.stdout)) == 1
