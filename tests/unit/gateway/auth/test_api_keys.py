"""API keys: how they look, what knows them again, and that a stolen database makes none."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.auth.api_keys import ApiKeyMaker, KeyTable, KnownKeys
from registry.state.logged_state import LoggedApiKey, LoggedFacts, LoggedKeyRevocation
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import refused
from tests.support.fakes.clock import Clock

NOW = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)
EXPIRES = NOW + timedelta(days=1)
MAKER = ApiKeyMaker(b"k" * 32)


def logged(key, holder="client", **changes):
    told = LoggedApiKey(
        key_id=key.key_id,
        holder=holder,
        label="",
        expires=format_time(EXPIRES),
        digest=sha256(key.digest.encode()),
    )
    return replace(told, **changes)


def known_keys(*keys, revoked=(), maker=MAKER):
    facts = LoggedFacts(api_keys={key.key_id: key for key in keys})
    for key in revoked:
        facts.key_revocations[key.key_id] = LoggedKeyRevocation(format_time(NOW), "admin", "")
    return KnownKeys(maker, facts)


KEY = MAKER.make("client", EXPIRES)
OTHER = MAKER.make("client", EXPIRES)
KNOWN = known_keys(logged(KEY), logged(OTHER))


def test_a_key_has_256_random_bits_and_a_public_id():
    assert re.fullmatch(r"sg_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", KEY.text)
    assert KEY.text != OTHER.text
    assert KEY.text not in repr(KEY)
    assert KEY.text.split("_", 2)[2] not in KEY.digest


def test_a_key_is_known_again():
    assert KNOWN.holder(KEY.text, NOW) == "client"


@pytest.mark.parametrize(
    "text",
    ["sg_", KEY.text + "A", KEY.text[:-1], KEY.text.upper(), "sg_\n"],
    ids=["no id", "too long", "too short", "upper case", "a line's end"],
)
def test_what_is_no_key(text):
    with refused(Reason.API_KEY_MALFORMED):
        KNOWN.holder(text, NOW)


def test_a_wrong_secret_and_an_unknown_id_look_the_same():
    unknown = MAKER.make("client", EXPIRES).text
    crossed = OTHER.text[:16] + KEY.text[16:]
    for text in (unknown, crossed):
        with refused(Reason.API_KEY_INVALID):
            KNOWN.holder(text, NOW)


def test_expired_and_revoked_keys():
    with refused(Reason.API_KEY_EXPIRED):
        KNOWN.holder(KEY.text, EXPIRES)
    known = known_keys(logged(KEY), revoked=(KEY,))
    with refused(Reason.API_KEY_REVOKED):
        known.holder(KEY.text, NOW)


def test_who_has_no_secret_does_not_hear_that_a_key_was_revoked():
    known = known_keys(logged(KEY), revoked=(KEY,))
    with refused(Reason.API_KEY_INVALID):
        known.holder(KEY.text[:16] + OTHER.text[16:], NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"holder": "admin"},
        {"expires": format_time(EXPIRES + timedelta(days=365))},
        {"key_id": OTHER.key_id},
    ],
)
def test_an_edited_database_makes_no_key_into_another(changes):
    edited = logged(KEY, **changes)
    text = KEY.text.replace(KEY.key_id, edited.key_id)
    with refused(Reason.API_KEY_INVALID):
        known_keys(edited).holder(text, NOW)


def test_without_the_gateways_secret_a_digest_is_worth_nothing():
    with refused(Reason.API_KEY_INVALID):
        known_keys(logged(KEY), maker=ApiKeyMaker(b"o" * 32)).holder(KEY.text, NOW)


def test_a_short_secret_of_the_gateway(tmp_path):
    path = tmp_path / "api-keys.key"
    path.write_bytes(b"k" * 31)
    path.chmod(0o600)
    with refused(Reason.KEY_UNREADABLE):
        ApiKeyMaker.from_file(path)
    path.chmod(0o644)
    with refused(Reason.KEY_FILE_EXPOSED):
        ApiKeyMaker.from_file(path)


class Records:
    """A registry of API keys that can be away."""

    def __init__(self):
        self.facts = LoggedFacts(api_keys={KEY.key_id: logged(KEY)})
        self.token = 0
        self.read = 0

    def change_token(self):
        if self.token is None:
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE)
        return (self.token,)

    def logged(self):
        self.read += 1
        return self.facts


@pytest.fixture
def followed():
    records, clock = Records(), Clock(100.0)
    table = KeyTable(MAKER, lambda: NOW, clock)
    table.registry = records
    table.follow()
    return table, records, clock


def test_the_table_is_read_again_only_after_a_change(followed):
    table, records, _ = followed
    table.follow()
    assert records.read == 1
    records.facts.key_revocations[KEY.key_id] = LoggedKeyRevocation(format_time(NOW), "admin", "")
    records.token = 1
    table.follow()
    assert records.read == 2
    with refused(Reason.API_KEY_REVOKED):
        table.holder(KEY.text, 60)


def test_a_blocked_key_passes_no_more_though_the_log_does_not_revoke_it(followed):
    table, records, _ = followed
    table.block(KEY.key_id)
    with refused(Reason.API_KEY_REVOKED):
        table.holder(KEY.text, 60)
    records.token = 1
    table.follow()
    with refused(Reason.API_KEY_REVOKED):
        table.holder(KEY.text, 60)


def test_keys_are_not_believed_for_ever_while_the_registry_is_away(followed):
    table, records, clock = followed
    records.token = None
    with refused(Reason.REGISTRY_UNAVAILABLE):
        table.follow()
    clock.now += 60
    assert table.holder(KEY.text, 60) == "client"
    clock.now += 1
    with refused(Reason.REGISTRY_UNAVAILABLE):
        table.holder(KEY.text, 60)


def test_a_gateway_without_a_secret_has_no_keys():
    table = KeyTable(None)
    with refused(Reason.API_KEY_INVALID):
        table.holder(KEY.text, 60)
    with refused(Reason.API_KEYS_OFF):
        _ = table.maker
