"""API keys are entries of the log; each is created once, revoked once, and never kept itself."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from registry.credentials.api_keys import ApiKeyRecord
from registry.state import schema
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import NOW, refused
from tests.support.harness.registry import RegistryHarness

KEY_ID, DIGEST = "0123456789ab", "d" * 64


def create(harness: RegistryHarness, **changes: object) -> ApiKeyRecord:
    values = {
        "principal": "otto",
        "key_id": KEY_ID,
        "holder": "carla",
        "label": "nightly",
        "expires": NOW + timedelta(days=7),
        "digest": DIGEST,
    }
    return harness.registry.api_keys.create(**(values | changes))


def test_creation_and_revocation_are_entries(harness: RegistryHarness) -> None:
    create(harness)
    harness.registry.api_keys.revoke("otto", KEY_ID, "leaked")
    size = harness.registry.log.size()
    created, revoked = (json.loads(harness.registry.log.entry(i)) for i in (size - 2, size - 1))
    assert (created["event"], revoked["event"]) == ("api-key.created", "api-key.revoked")
    assert created["principal"] == revoked["principal"] == "otto"
    assert created["subject"] == revoked["subject"] == f"api-keys/{KEY_ID}"
    assert created["body"]["holder"] == "carla"
    assert revoked["body"] == {"reason": "leaked"}
    assert DIGEST not in json.dumps(created)
    harness.registry.verify()


def test_what_is_listed(harness: RegistryHarness) -> None:
    create(harness)
    create(harness, key_id="ba9876543210")
    harness.registry.api_keys.revoke("otto", KEY_ID, "leaked")
    first, second = harness.registry.api_keys.list().records
    assert (first.revoked != "", first.revoker, first.reason) == (True, "otto", "leaked")
    assert (second.key_id, second.revoked, second.creator) == ("ba9876543210", "", "otto")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_id": "0123"}, Reason.DOCUMENT_MALFORMED),
        ({"key_id": "0123456789AB"}, Reason.DOCUMENT_MALFORMED),
        ({"digest": "d"}, Reason.DOCUMENT_MALFORMED),
        ({"label": "a\nb"}, Reason.DOCUMENT_MALFORMED),
        ({"label": "a" * 257}, Reason.DOCUMENT_MALFORMED),
        ({"expires": NOW}, Reason.PARAMETER_MALFORMED),
        ({"expires": NOW + timedelta(days=367)}, Reason.PARAMETER_MALFORMED),
        ({"holder": "nobody"}, Reason.PRINCIPAL_UNKNOWN),
    ],
)
def test_keys_that_are_not_created(
    harness: RegistryHarness, changes: dict[str, str | datetime], reason: Reason
) -> None:
    size = harness.registry.log.size()
    with refused(reason):
        create(harness, **changes)
    assert harness.registry.log.size() == size


def test_an_id_is_used_once(harness: RegistryHarness) -> None:
    create(harness)
    with refused(Reason.DOCUMENT_MALFORMED):
        create(harness, holder="otto")


def test_revoking_what_is_not_there_and_for_no_reason(harness: RegistryHarness) -> None:
    with refused(Reason.API_KEY_UNKNOWN):
        harness.registry.api_keys.revoke("otto", KEY_ID, "leaked")
    with refused(Reason.API_KEY_UNKNOWN):
        harness.registry.api_keys.get(KEY_ID)
    create(harness)
    with refused(Reason.DOCUMENT_MALFORMED):
        harness.registry.api_keys.revoke("otto", KEY_ID, "a\x00b")


def outcomes(attempt, times: int) -> list[Reason | None]:
    def one(_: int) -> Reason | None:
        try:
            attempt()
        except SealgateError as refusal:
            return refusal.reason
        return None

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def test_two_revocations_of_a_key_at_once(harness: RegistryHarness) -> None:
    create(harness)
    size = harness.registry.log.size()
    found = outcomes(lambda: harness.registry.api_keys.revoke("otto", KEY_ID, "leaked"), 4)
    assert sorted(map(str, found)) == sorted(map(str, [None, *[Reason.API_KEY_ENDED] * 3]))
    assert harness.registry.log.size() == size + 1
    harness.registry.verify()


def test_two_revocations_of_a_version_at_once(harness: RegistryHarness) -> None:
    version = harness.publish()
    size = harness.registry.log.size()
    found = outcomes(lambda: harness.revoke(version), 4)
    assert sorted(map(str, found)) == sorted(map(str, [None, *[Reason.VERSION_REVOKED] * 3]))
    assert harness.registry.log.size() == size + 1
    harness.registry.verify()


@pytest.mark.parametrize(
    "values", [{"holder": "otto"}, {"expires": "2036-01-01T00:00:00Z"}, {"digest": "e" * 64}]
)
def test_an_edited_key_is_found_out(harness: RegistryHarness, values: dict[str, str]) -> None:
    create(harness)
    with harness.database.writing() as connection:
        connection.execute(update(schema.API_KEYS).values(**values))
        connection.commit()
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.verify()
