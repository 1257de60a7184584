"""Walks every method by every role once more, over each listener with each kind of credential.

The rules are the same whichever way somebody comes in: none of the ways forgets to ask.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from demo.stage import free_ports
from gateway.auth.method_rules import ANYONE, RULES
from sealgate.reasons import Reason
from sealgate.remote import Access, reason_of
from sealgate.setup.credentials import ISSUER, CertificateAuthority, mint_token
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time
from sealgate.v1.credential_pb2 import CreateApiKeyRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from tests.integration.gateway.test_every_method import METHODS, PEOPLE, invoke
from tests.support.harness.gateway import GatewayHarness, refusal

CALLERS = CertificateAuthority("workloads", datetime.now(UTC), timedelta(days=1))
WAYS = [
    ("tls", "token"),
    ("tls", "api key"),
    ("mutual", "certificate"),
    ("mutual", "spiffe"),
    ("insecure", "token"),
    ("insecure", "api key"),
]


def spiffe(person: str) -> str:
    return f"spiffe://example.org/{person}"


@pytest.fixture(scope="module")
def harness(tmp_path_factory, transport):
    """Everybody is known by a token, a certificate and a workload's name."""
    harness = GatewayHarness(tmp_path_factory.mktemp("listeners") / "state", transport=transport)
    path = harness.state / "trust" / "policy.json"
    document = json.loads(Envelope.decode(path.read_bytes()).payload)
    for person in document["principals"]:
        name = person["name"]
        if name in PEOPLE:
            known = {f"jwt:{ISSUER} {name}", f"mtls:{name}", f"spiffe:{spiffe(name)}"}
            person["identities"] = sorted(known | set(person["identities"]))
    roots = [load_private_key(harness.state / "roots" / f"root-{number}.key") for number in (1, 2)]
    path.write_bytes(dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *roots).encode())
    callers = harness.state / "tls" / "callers.pem"
    callers.write_bytes(callers.read_bytes() + CALLERS.pem)
    configuration = harness.state / "gateway.toml"
    insecure = f'[listen]\ninsecure = "127.0.0.1:{free_ports()}"\n'
    text = configuration.read_text()
    assert "[listen]\n" in text
    configuration.write_text(text.replace("[listen]\n", insecure))
    harness.start()
    yield harness
    harness.stop()


@pytest.fixture(scope="module")
def api_keys(harness):
    """A key for each person, made by the admin."""
    admin = CredentialServiceStub(harness.channel("admin"))
    expires = format_time(datetime.now(UTC) + timedelta(hours=1))

    def made(person):
        request = CreateApiKeyRequest(holder=person, label="walk", expire_time=expires)
        return admin.CreateApiKey(request, timeout=60).secret

    return {person: made(person) for person in PEOPLE}


def bearer(harness, api_keys, kind, person):
    if kind == "api key":
        return api_keys[person]
    key = Path(harness.state / "issuer" / "issuer.key").read_bytes()
    return mint_token(key, person, datetime.now(UTC), timedelta(minutes=10))


def channel(harness, listener, caller=None):
    """A channel to a listener, with a certificate where one is shown."""
    endpoint = f"127.0.0.1:{harness.gateway.ports[listener]}"
    if listener == "insecure":
        return grpc.insecure_channel(endpoint)
    authority = (harness.state / "tls" / "servers.pem").read_bytes()
    certificate = (caller.certificate, caller.key) if caller else (None, None)
    access = Access(endpoint, authority, None, *certificate)
    return grpc.secure_channel(endpoint, access.credentials())


def opened(harness, api_keys, listener, kind, person):
    """A channel by which that person calls in that way."""
    if kind == "certificate":
        return channel(harness, listener, CALLERS.caller(person))
    if kind == "spiffe":
        return channel(harness, listener, CALLERS.caller("no name", spiffe(person)))
    token = bearer(harness, api_keys, kind, person)
    return grpc.intercept_channel(channel(harness, listener), WithMetadata(token))


class WithMetadata(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends a bearer credential over TLS and without it alike."""

    def __init__(self, token):
        self._metadata = [("authorization", f"Bearer {token}")]

    def _call(self, continuation, details, request):
        return continuation(details._replace(metadata=self._metadata), request)

    intercept_unary_unary = _call
    intercept_unary_stream = _call
    intercept_stream_unary = _call
    intercept_stream_stream = _call


def reason(channel, path, method):
    """The reason why a call is refused, if it is."""
    try:
        invoke(channel, path, method)
    except grpc.RpcError as error:
        # Every method has a reason for everything, foreign ones too for an empty request.
        return reason_of(error) or error
    return None


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize(("listener", "kind"), WAYS)
def test_roles_decide_on_every_way_in(harness, api_keys, listener, kind, person):
    wrong = {}
    with opened(harness, api_keys, listener, kind, person) as caller:
        for path, method in METHODS:
            allowed = RULES[path] == ANYONE or PEOPLE[person] in RULES[path]
            found = reason(caller, path, method)
            if (found is Reason.ROLE_TOO_LOW) is allowed:
                wrong[path] = found
    assert not wrong


@pytest.mark.parametrize("listener", ["tls", "insecure"])
def test_nobody_is_let_in_unknown(harness, listener):
    with channel(harness, listener) as anonymous:
        found = {path: reason(anonymous, path, method) for path, method in METHODS}
    expected = {
        path: None if RULES[path] == ANYONE else Reason.CREDENTIAL_MISSING for path in found
    }
    # These look at the credential themselves.
    expected["/sealgate.v1.CredentialService/CreateLoginChallenge"] = Reason.TOKEN_BINDING
    expected["/sealgate.v1.CredentialService/CreateBoundToken"] = Reason.CREDENTIAL_MISSING
    assert found == expected


def test_nobody_without_a_certificate_comes_through_mutual_tls(harness):
    with channel(harness, "mutual") as anonymous:
        with pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(anonymous).result(2)
        path, method = METHODS[0]
        with pytest.raises(grpc.RpcError) as caught:
            invoke(anonymous, path, method)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_that_nobody_is_known_by(harness):
    with channel(harness, "mutual", CALLERS.caller("stranger")) as stranger:
        for path, method in METHODS:
            if RULES[path] != ANYONE:
                assert refusal(invoke, stranger, path, method) is Reason.PRINCIPAL_UNKNOWN
