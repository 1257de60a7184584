"""A whole installation whose logs, freshness service, a root and an approver sign in a token."""

import pytest

from registry.log.verification import VerifiedLog
from sealgate.private_keys import open_signer
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys.pkcs11_key import TokenKey
from sealgate.trust.transparency.note import vkey
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.key_changes import finish, is_signed, rotate, run
from tests.support.harness.policy_changes import (
    accept,
    document,
    first_document,
    person,
    root,
    signed,
)
from tests.support.harness.rollouts import await_true

pytestmark = pytest.mark.slow


def in_token(harness: GatewayHarness, token) -> None:
    """Rewrite what `sealgate init` made, before the gateway has begun."""
    document = first_document(harness)

    def replace(old: str, name: str) -> str:
        public = open_signer(token.uri(name)).public
        del document["keys"][old]
        document["keys"][public.keyid] = public.pem
        return public.keyid

    for who, name in (("freshness", "freshness"), ("approver-1", "anna")):
        someone = person(document, who)
        someone["keys"] = [replace(someone["keys"][0], name)]
    roots = document["root"]["keys"]
    first = root(harness, 1).public.keyid
    roots[roots.index(first)] = replace(first, "root-1")
    origins = {"registry": "registry-log", "answers": "answers"}
    lines = {
        log: vkey(f"house.localhost/{log}", open_signer(token.uri(name)).public)
        for log, name in origins.items()
    }
    document["logs"] = {"registry": lines["registry"], "answers": [lines["answers"]]}
    signers = (open_signer(token.uri("root-1")), root(harness, 2))
    (harness.state / "trust" / "policy.json").write_bytes(signed(document, *signers))
    pinned = harness.state / "trust" / "root-1.pem"
    pinned.write_text(open_signer(token.uri("root-1")).public.pem)
    configure(harness.state / "gateway.toml", token)
    profile = harness.state / "people" / "approver-1" / "profile.toml"
    text = profile.read_text()
    assert '"signing.key"' in text
    profile.write_text(text.replace('"signing.key"', f'"{token.uri("anna")}"'))


def configure(file, token) -> None:
    text = file.read_text()
    for name in ("registry-log", "answers", "freshness"):
        assert f'"keys/{name}.key"' in text
        text = text.replace(f'"keys/{name}.key"', f'"{token.uri(name)}"')
    file.write_text(text)


@pytest.fixture
def harness(token, tmp_path):
    harness = GatewayHarness(tmp_path / "state")
    in_token(harness, token)
    harness.start()
    yield harness
    harness.stop()


def announce(harness: GatewayHarness, name: str, before: str, following: str) -> None:
    """Name the key that follows in gateway.toml, and start again."""
    harness.stop()
    file = harness.state / "gateway.toml"
    line = f'{name} = "{before}"\n'
    text = file.read_text()
    assert line in text
    text = text.replace(line, f'{line}next_{name} = "{following}"\n')
    file.write_text(f"{text}\n[limits]\nanchor_every = 1.0\n")
    harness.start()


def put_in_place(harness: GatewayHarness, name: str, before: str) -> None:
    """Leave the former key out of gateway.toml, and start again."""
    harness.stop()
    file = harness.state / "gateway.toml"
    text = file.read_text().replace(f'{name} = "{before}"\n', "")
    file.write_text(text.replace(f"next_{name}", name))
    harness.start()


def test_a_logs_key_is_replaced_by_another_in_the_token(harness, token, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    token.make("ed25519", "answers-next")
    before, following = token.uri("answers"), token.uri("answers-next")
    announce(harness, "log_key", before, following)
    places = ("--key", before, "--next", following)
    assert "name the one that follows by --next" in run(
        harness, "key", "rotate", "answers", "--key", before, code=2
    )
    rotate(harness, "answers", *places)
    public = open_signer(following).public
    await_true(lambda: is_signed(harness, "answers", public))
    run(harness, "audit", "verify", "--wait", "60")
    told = finish(harness, "answers", *places)
    assert f"{following} is the key that signs now" in told
    put_in_place(harness, "log_key", before)
    run(harness, "audit", "verify", "--wait", "60")
    assert is_signed(harness, "answers", public)


def test_the_freshness_key_is_replaced_by_another_in_the_token(
    harness, token, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    token.make("ed25519", "freshness-next")
    before, following = token.uri("freshness"), token.uri("freshness-next")
    former, public = (open_signer(uri).public for uri in (before, following))

    def signers() -> set[str]:
        envelope = Envelope.decode(harness.gateway.store.registry.snapshot().freshness)
        return {keyid for keyid, _ in envelope.signatures}

    places = ("--key", before, "--next", following)
    assert "the policy in force does not name the next key" in run(
        harness, "key", "rotate", "freshness", *places, "--finish", code=1
    )
    announce(harness, "freshness_key", before, following)
    assert signers() == {former.keyid}
    rotate(harness, "freshness", *places)
    assert signers() == {public.keyid}
    told = run(harness, "key", "rotate", "freshness", *places, "--finish")
    assert f"{following} is the key that signs now" in told
    assert f"statements by the former key {former.keyid} are believed" in told
    put_in_place(harness, "freshness_key", before)
    changed = document(harness)
    person(changed, "freshness")["keys"] = [public.keyid]
    accept(harness, root(harness, 2), root(harness, 3), **changed)
    assert signers() == {public.keyid}
    # The new key confirms every later move, and engines accept it.
    harness.publish("digits-standard", "digits")
    harness.promote("digits", 1)
    assert harness.inference().ModelInfer(question("digits", rows()), timeout=60)


def test_everything_holds_as_with_keys_in_files(harness, token):
    for name in ("registry-log", "answers", "freshness"):
        (harness.state / "keys" / f"{name}.key").unlink()
    harness.publish("digits-standard", "digits")
    harness.promote("digits", 1)
    answer = harness.inference().ModelInfer(question("digits", rows()), timeout=60)
    assert answer.model_version == "1"
    pointer = harness.registry("auditor").GetPointer(
        messages.GetPointerRequest(name="models/digits/aliases/production")
    )
    assert pointer.pointer.sequence == 1
    accept(harness, open_signer(token.uri("root-1")), root(harness, 3))
    assert harness.gateway.engine.policy_in_force().version == 2
    assert isinstance(harness.gateway.store.registry.verify(), VerifiedLog)
    assert isinstance(open_signer(token.uri("registry-log")), TokenKey)
    # A restart finds its keys again.
    harness.stop()
    harness.start()
    assert harness.inference().ModelInfer(question("digits", rows()), timeout=60)
