"""Approving, rejecting, promoting and rolling back with a passkey; and what is refused, and why."""

import base64
import re
from collections.abc import Iterator

import pytest

from tests.support.builders.documents.authenticator import PRESENT, Authenticator
from tests.support.harness.console import ConsoleHarness, csrf_of
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.harness.policy_changes import list_passkeys


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[GatewayHarness]:
    """Digits 1 in production, digits 2 to be proposed."""
    with running(
        tmp_path_factory.mktemp("signing") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        yield harness


@pytest.fixture(scope="module")
def console(gateway) -> ConsoleHarness:
    return ConsoleHarness(gateway)


@pytest.fixture(scope="module")
def keys(gateway, console) -> dict[str, Authenticator]:
    """A passkey for each person who signs, which the policy lists."""
    people = ("approver-1", "approver-2", "admin")
    made = {
        name: Authenticator(f"console {name}", rp_id="localhost", origin=console.origin)
        for name in people
    }
    entries = {name: {key.keyid: key.passkey.to_json()} for name, key in made.items()}
    list_passkeys(gateway, entries)
    return made


class Signer:
    """A person at the console who signs with a passkey in software."""

    def __init__(self, console, name, key):
        self.browser = console.signed_in(name)
        self.key = key
        self.csrf = csrf_of(self.browser.get("/sessions").text)

    def prepare(self, action, **form) -> tuple[str, bytes]:
        """The address to send the signature to, and the challenge."""
        answer = self.browser.post("/sign", data={"csrf": self.csrf, "action": action, **form})
        assert answer.status_code == 200, answer.text
        self.page = answer.text
        challenge = re.search(r'data-challenge="([^"]+)"', answer.text)[1]
        return re.search(r'action="(/sign/[^"]+)"', answer.text)[1], _bytes(challenge)

    def send(self, place, challenge, /, key=None, confirm="", **changes):
        key = key or self.key
        given = key.answer(challenge, **changes)
        form = {
            "csrf": self.csrf,
            "confirm": confirm,
            "credential": _text(key.passkey.credential),
            "authenticator_data": _text(given.authenticator_data),
            "client_data": _text(given.client_data),
            "signature": _text(given.signature),
        }
        return self.browser.post(place, data=form)


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.fixture
def people(console, keys) -> dict[str, Signer]:
    return {name: Signer(console, name, key) for name, key in keys.items()}


def test_a_version_goes_live_and_back_by_passkeys_alone(gateway, people):
    proposal = gateway.propose("digits", 2).digest
    for name in ("approver-1", "approver-2"):
        place, challenge = people[name].prepare("approve", proposal=proposal, words="read it")
        assert "Approve: digits 2 for production" in people[name].page
        assert "moves from version 1 to version 2" in people[name].page
        answer = people[name].send(place, challenge)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/proposals/{proposal}")
    admin = people["admin"]
    place, challenge = admin.prepare(
        "promote", proposal=proposal, model="digits", alias="production", words="reads better"
    )
    assert "moves from version 1 to version 2" in admin.page
    refused = admin.send(place, challenge, confirm="digit")
    assert "type digits to confirm" in refused.text
    moved = admin.send(place, challenge, confirm="digits")
    assert moved.headers["location"] == "/models/digits/aliases/production/live"
    gateway.await_version("digits", 2)
    assert "Version 2 answers now" in admin.browser.get(moved.headers["location"]).text
    place, challenge = admin.prepare(
        "rollback", model="digits", alias="production", version="1", words="complaints"
    )
    assert admin.send(place, challenge, confirm="digits").status_code == 303
    gateway.await_version("digits", 1)


def test_a_rejection_by_passkey_ends_the_proposal(gateway, people):
    proposal = gateway.propose("digits", 2).digest
    signer = people["approver-1"]
    for action, words in (("comment", "too early"), ("reject", "not tested")):
        place, challenge = signer.prepare(action, proposal=proposal, words=words)
        assert signer.send(place, challenge).status_code == 303
    text = signer.browser.get(f"/proposals/{proposal}").text
    assert "too early" in text
    assert "not tested" in text
    assert "rejected" in text


@pytest.fixture
def waiting(gateway, people):
    """A signer with an approval to sign."""
    proposal = gateway.propose("digits", 2).digest
    signer = people["approver-1"]
    return signer, *signer.prepare("approve", proposal=proposal, words="read it")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flags": PRESENT}, "WEBAUTHN_USER"),
        ({"origin": "https://evil.example"}, "WEBAUTHN_ORIGIN"),
        ({"rp_id": "evil.example"}, "WEBAUTHN_RP_ID"),
        ({"type": "webauthn.create"}, "WEBAUTHN_TYPE"),
        ({"challenge": "AAAA"}, "WEBAUTHN_CHALLENGE"),
        ({"crossOrigin": True}, "WEBAUTHN_ORIGIN"),
        ({"signed": b"something else"}, "SIGNATURE_INVALID"),
    ],
)
def test_a_signature_for_something_else_is_refused(waiting, changes, reason):
    signer, place, challenge = waiting
    answer = signer.send(place, challenge, **changes)
    assert reason in answer.text
    assert answer.status_code != 303


def test_a_signature_is_for_one_statement_and_is_sent_once(gateway, waiting):
    signer, place, challenge = waiting
    other, _ = signer.prepare(
        "approve", proposal=gateway.propose("digits", 2).digest, words="read it"
    )
    assert "WEBAUTHN_CHALLENGE" in signer.send(other, challenge).text
    assert signer.send(place, challenge).status_code == 303
    assert "waits no more" in signer.send(place, challenge).text


def test_another_persons_passkey_and_another_session_are_refused(people, waiting, keys):
    signer, place, challenge = waiting
    assert "SIGNER_MISMATCH" in signer.send(place, challenge, key=keys["admin"]).text
    assert "waits no more" in people["approver-2"].send(place, challenge).text
    assert "waits no more" in people["admin"].send(place, challenge).text


def test_who_has_no_passkey_is_told_and_cannot_sign(console, gateway, keys):
    proposal = gateway.propose("digits", 2).digest
    browser = console.signed_in("publisher")
    csrf = csrf_of(browser.get("/sessions").text)
    form = {"csrf": csrf, "action": "comment", "proposal": proposal, "words": "hello"}
    text = browser.post("/sign", data=form).text
    assert "You have no passkey for this console" in text
    assert "data-challenge" not in text


def test_the_gateway_has_the_last_word(gateway, people):
    """An approver's signature under a promotion: the console sends it, and it is refused."""
    proposal = gateway.approved("digits", 2, "shadow")
    signer = people["approver-1"]
    place, challenge = signer.prepare(
        "promote", proposal=proposal, model="digits", alias="shadow", words="now"
    )
    answer = signer.send(place, challenge, confirm="digits")
    assert answer.status_code == 403
    assert "ROLE_TOO_LOW" in answer.text


def sign_in(console, key, challenge=None, **changes):
    """Sign in with a passkey that answers the gateway's challenge, or another one."""
    visitor = console.visitor()
    page = visitor.post("/sign-in/passkey").text
    text = re.search(r'data-challenge="([^"]+)"', page)[1] if challenge is None else challenge
    given = key.answer(_bytes(text), **changes)
    form = {
        "key_id": key.keyid,
        "challenge": text,
        "authenticator_data": _text(given.authenticator_data),
        "client_data": _text(given.client_data),
        "signature": _text(given.signature),
    }
    return visitor.post("/sign-in/passkey", data=form)


def test_a_passkey_signs_in_and_only_with_a_challenge_of_the_gateways(console, keys):
    assert "__Host-sealgate=" in sign_in(console, keys["admin"]).headers["set-cookie"]
    for challenge, changes, reason in (
        (_text(b"x" * 48), {}, "LOGIN_CHALLENGE"),
        (None, {"flags": PRESENT}, "WEBAUTHN_USER"),
        (None, {"origin": "https://evil.example"}, "WEBAUTHN_ORIGIN"),
    ):
        answer = sign_in(console, keys["admin"], challenge, **changes)
        assert reason in answer.text
        assert "set-cookie" not in answer.headers


def test_a_cloned_passkey_is_found_out_by_its_counter(gateway, console):
    """The counter of the second signature has not grown: another device has the same key."""
    key = Authenticator("counting", rp_id="localhost", origin=console.origin)
    list_passkeys(gateway, {"approver-1": {key.keyid: key.passkey.to_json()}})
    proposal = gateway.propose("digits", 2).digest
    signer = Signer(console, "approver-1", key)
    said = []
    for counter in (7, 7, 8):
        place, challenge = signer.prepare("comment", proposal=proposal, words=f"look {len(said)}")
        answer = signer.send(place, challenge, counter=counter)
        said.append(answer.status_code if answer.status_code == 303 else answer.text)
    assert (said[0], said[2]) == (303, 303)
    assert "WEBAUTHN_COUNTER" in said[1]


def test_a_proposal_under_an_earlier_policy_waits_for_nobody(gateway, console, keys):
    proposal = gateway.propose("digits", 2).digest
    browser = console.signed_in("approver-1")
    assert f"/proposals/{proposal}" in browser.get("/").text
    other = Authenticator("another", rp_id="localhost", origin=console.origin)
    list_passkeys(gateway, {"admin": {other.keyid: other.passkey.to_json()}})
    assert f"/proposals/{proposal}" not in browser.get("/").text
    page = browser.get(f"/proposals/{proposal}").text
    assert "takes no approval any more" in page
    assert 'value="approve"' not in page
