"""A token whose times are not finite numbers is refused."""

import base64

import pytest

from gateway.auth.tokens import Issuer, TokenVerifier
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.harness.servers.issuer import AUDIENCE, ED25519, ISSUER, jwk, jwks


@pytest.mark.parametrize("expiry", [b"1e999", b"-1e999", b"NaN", b"true", b'"5"', b"9" * 400])
def test_a_token_with_a_non_finite_expiry_is_refused(tmp_path, expiry):
    (tmp_path / "jwks.json").write_bytes(jwks(jwk(ED25519, "e")))
    verifier = TokenVerifier([Issuer.from_file(ISSUER, AUDIENCE, tmp_path / "jwks.json")])
    claims = f'"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"alice"'.encode()
    body = b'{%b,"exp":%b}' % (claims, expiry)
    parts = (b'{"alg":"EdDSA","kid":"e"}', body)
    message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(ED25519.sign(message)).rstrip(b"=")
    with refused(Reason.TOKEN_MALFORMED):
        verifier.identity(b".".join((message, signature)).decode())
