"""Lists on the command line: filters, limits, and all pages."""

import json

import pytest

from sealgate.cli import api_key
from sealgate.reasons import Reason
from sealgate.v1.credential_pb2 import ApiKey, CreateApiKeyResponse
from sealgate.v1.registry_pb2 import CreateModelRequest
from tests.support.harness.gateway import GatewayHarness, running

MODELS = 60


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(
        tmp_path_factory.mktemp("cli-lists") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        harness.promote("digits", 2)
        harness.governance("admin").rollback("digits", "production", 1, "complaints")
        registry = harness.registry("publisher")
        for number in range(MODELS):
            registry.CreateModel(CreateModelRequest(model=f"model-{number}"))
        yield harness


def listed(harness: GatewayHarness, *words: str, person: str | None = None):
    result = harness.command(*words, "--json", person=person)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_all_pages_are_listed(harness):
    names = ["digits", *(f"model-{number}" for number in range(MODELS))]
    assert [row["model"] for row in listed(harness, "model", "list")] == names
    assert [row["model"] for row in listed(harness, "model", "list", "--limit", "55")] == names[:55]


@pytest.mark.parametrize(
    ("words", "column", "found"),
    [
        (("list", "--filter", "latest_version > 0"), "model", ["digits"]),
        (("list", "digits", "--filter", "publisher = publisher"), "publisher", ["publisher"] * 2),
        (("list", "digits", "--filter", "revocation_reason:*"), "version", []),
        (("history", "digits"), "sequence", [3, 2, 1]),
        (("history", "digits", "--limit", "1"), "sequence", [3]),
        (("history", "digits", "--filter", "action = promote"), "sequence", [2, 1]),
        (("proposals", "digits"), "approved_by", ["approver-1, approver-2"] * 2),
        (("proposals", "digits", "--filter", "NOT approver:approver-1"), "alias", []),
        (("proposals", "digits", "--filter", "alias = production"), "version", [1, 2]),
    ],
)
def test_filters_and_limits(harness, words, column, found):
    assert [row[column] for row in listed(harness, "model", *words)] == found


def test_keys_that_are_still_good(harness):
    for label in ("one", "two"):
        made = listed(harness, "api-key", "create", "client", "--label", label)
    listed(harness, "api-key", "revoke", made["id"], "--reason", "lost")
    good = listed(harness, "api-key", "list", "--filter", "NOT revoke_time:*")
    assert [row["label"] for row in good] == ["one"]
    assert len(listed(harness, "api-key", "list", "--limit", "1")) == 1


def test_a_filter_that_is_refused(harness):
    result = harness.command("model", "list", "--filter", "nothing = 1")
    assert result.exit_code != 0
    assert Reason.FILTER_MALFORMED.name in result.output


def test_a_key_whose_secret_was_lost_on_the_way(harness, monkeypatch):
    answer = CreateApiKeyResponse(api_key=ApiKey(name="api-keys/0123456789ab"))
    monkeypatch.setattr(api_key, "send", lambda method, request: answer)
    result = harness.command("api-key", "create", "client")
    assert result.exit_code != 0
    assert "sealgate api-key revoke 0123456789ab --reason lost" in " ".join(result.output.split())
