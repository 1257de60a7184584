"""Which key sets are accepted, from files and from issuers."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.auth.authenticate import issuer
from gateway.auth.key_sets import FileKeys, KeySet
from gateway.config.sections import TokenIssuer
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from tests.support.builders.documents.people import refused
from tests.support.harness.servers.issuer import ED25519, P256, RSA, jwk, jwks

SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505
P384 = ec.generate_private_key(ec.SECP384R1())
GOOD = jwk(P256, "p")

# Neither a file nor an issuer may show these.
REFUSED = {
    "not JSON": b"keys",
    "no keys": b"{}",
    "a list": b"[]",
    "keys that are no list": b'{"keys": {}}',
    "a key that is no object": jwks(GOOD, "x"),
    "nested": b"[" * 100_000,
    "empty": jwks(),
    "twice": jwks(GOOD, GOOD),
    "private": jwks(GOOD, {**jwk(ED25519, "e"), "d": "AAAA"}),
    "symmetric": jwks(GOOD, {"kty": "oct", "kid": "s", "k": "AAAA"}),
    "too many": jwks(*(jwk(P256, f"p{number}") for number in range(65))),
}
# A file must not name these; among an issuer's keys they are passed over.
PASSED_OVER = {
    "no kid": {name: value for name, value in GOOD.items() if name != "kid"},
    "empty kid": jwk(P256, ""),
    "kid that is no text": {**GOOD, "kid": 5},
    "RSA of 1024 bits": jwk(SMALL, "s"),
    "RSA with a huge exponent": jwk(RSA, "r", e="AQAAAAAAAAAB"),
    "RSA for another algorithm": jwk(RSA, "r", alg="RS512"),
    "for encryption": jwk(RSA, "r", use="enc"),
    "for signing only": jwk(P256, "q", key_ops=["sign"]),
    "P-384": jwk(P384, "q"),
    "not on its curve": jwk(P256, "q", x="AAAA"),
    "unknown type": {"kty": "AKP", "kid": "q"},
    "type that is no text": {"kty": ["EC"], "crv": {}, "kid": "q"},
}


@pytest.mark.parametrize("strict", [True, False])
def test_keys_of_all_three_kinds(strict):
    document = jwks(GOOD, jwk(ED25519, "e", use="sig"), jwk(RSA, "r", alg="RS256"))
    found = KeySet.parse(document, strict=strict)
    algorithms = {kid: key.algorithm_name for kid, key in found.keys.items()}
    assert algorithms == {"p": "ES256", "e": "EdDSA", "r": "RS256"}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("case", REFUSED)
def test_sets_that_are_refused(case, strict):
    with refused(Reason.KEY_SET_REFUSED):
        KeySet.parse(REFUSED[case], strict=strict)


@pytest.mark.parametrize("case", PASSED_OVER)
def test_a_file_holds_accepted_keys_only(case, tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(GOOD, PASSED_OVER[case]))
    with pytest.raises(ValueError, match="key"):
        FileKeys(path)


def test_a_configured_file_that_is_cut_short_is_a_wrong_configuration(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(GOOD)[:-10])
    with pytest.raises(ConfigError, match=r"key_set = .*jwks\.json: not a JWK set"):
        issuer(TokenIssuer("https://issuer.example", "gateway", path))


@pytest.mark.parametrize("case", PASSED_OVER)
def test_an_issuer_may_have_other_keys_too(case):
    assert set(KeySet.parse(jwks(GOOD, PASSED_OVER[case]), strict=False).keys) == {"p"}
    with refused(Reason.KEY_SET_REFUSED):
        KeySet.parse(json.dumps({"keys": [PASSED_OVER[case]]}).encode(), strict=False)


def test_a_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(GOOD))
    keys = FileKeys(path)
    before = keys.current()
    assert keys.current() is before
    new = tmp_path / "new.json"
    new.write_bytes(jwks(GOOD, jwk(ED25519, "e")))
    new.replace(path)
    found = keys.find("e")
    assert found is not None
    assert found[0] is keys.current() is not before


@pytest.mark.parametrize("change", ["malformed", "empty", "gone"])
def test_a_file_that_cannot_be_used_changes_nothing(change, tmp_path, caplog):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(GOOD))
    keys = FileKeys(path)
    before = keys.current()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes({"malformed": b"{", "empty": jwks()}[change])
    for _ in range(3):
        assert keys.current() is before
    assert len(caplog.records) == 1
    path.write_bytes(jwks(jwk(ED25519, "e")))
    assert keys.find("p") is None
    assert keys.find("e") is not None


def test_a_key_set_overwritten_with_its_old_time_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(jwk(P256, "p")))
    before = path.stat()
    keys = FileKeys(path)
    assert keys.find("p") is not None
    new = jwks(jwk(ED25519, "e"))
    path.write_bytes(new + b" " * (before.st_size - len(new)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert keys.find("p") is None
    assert keys.find("e") is not None
