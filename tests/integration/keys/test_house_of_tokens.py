"""A whole installation whose logs, freshness service, a root and an approver sign in a token."""

import pytest

from registry.log.verification import VerifiedLog
from sealgate.signers import open_signer
from sealgate.trust.keys.pkcs11_key import TokenKey
from sealgate.trust.transparency.note import vkey
from sealgate.v1 import registry_pb2 as messages
from tests.support.house import House, question, rows
from tests.support.succession import accept, first_document, person, root, signed


def in_token(house: House, token) -> None:
    """Rewrite what `sealgate init` made, before the gateway has begun."""
    document = first_document(house)

    def replace(old: str, name: str) -> str:
        public = open_signer(token.uri(name)).public
        del document["keys"][old]
        document["keys"][public.keyid] = public.pem
        return public.keyid

    for who, name in (("freshness", "freshness"), ("approver-1", "anna")):
        someone = person(document, who)
        someone["keys"] = [replace(someone["keys"][0], name)]
    roots = document["root"]["keys"]
    first = root(house, 1).public.keyid
    roots[roots.index(first)] = replace(first, "root-1")
    origins = {"registry": "registry-log", "answers": "answers"}
    lines = {
        log: vkey(f"house.localhost/{log}", open_signer(token.uri(name)).public)
        for log, name in origins.items()
    }
    document["logs"] = {"registry": lines["registry"], "answers": [lines["answers"]]}
    signers = (open_signer(token.uri("root-1")), root(house, 2))
    (house.state / "trust" / "policy.json").write_bytes(signed(document, *signers))
    pinned = house.state / "trust" / "root-1.pem"
    pinned.write_text(open_signer(token.uri("root-1")).public.pem)
    configure(house.state / "gateway.toml", token)
    profile = house.state / "people" / "approver-1" / "profile.toml"
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
def house(token, tmp_path):
    house = House(tmp_path / "state")
    in_token(house, token)
    house.start()
    yield house
    house.stop()


def test_everything_holds_as_with_keys_in_files(house, token):
    for name in ("registry-log", "answers", "freshness"):
        (house.state / "keys" / f"{name}.key").unlink()
    house.publish("digits-1", "digits")
    house.promote("digits", 1)
    answer = house.inference().ModelInfer(question("digits", rows()), timeout=60)
    assert answer.model_version == "1"
    pointer = house.registry("auditor").GetPointer(
        messages.GetPointerRequest(name="models/digits/aliases/production")
    )
    assert pointer.pointer.sequence == 1
    accept(house, open_signer(token.uri("root-1")), root(house, 3))
    assert house.gateway.policy().version == 2
    assert isinstance(house.gateway.store.registry.verify(), VerifiedLog)
    assert isinstance(open_signer(token.uri("registry-log")), TokenKey)
    # A restart finds its keys again.
    house.stop()
    house.start()
    assert house.inference().ModelInfer(question("digits", rows()), timeout=60)
