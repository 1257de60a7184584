"""A person who has only a passkey signs in through the console's certificate, and approves."""

import json
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.remote import Access
from sealgate.setup.credentials import mint_token
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Approval
from sealgate.trust.times import format_time
from sealgate.v1 import credential_pb2 as messages
from sealgate.v1 import registry_pb2
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.builders.documents.authenticator import Authenticator
from tests.support.harness.gateway import GatewayHarness, now, refusal

ANNA = Authenticator("anna")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """An installation whose first policy lists Anna's passkey, and nothing else of Anna's."""
    harness = GatewayHarness(tmp_path_factory.mktemp("passkeys") / "state", "digits-standard")
    path = harness.state / "trust" / "policy.json"
    document = json.loads(Envelope.decode(path.read_bytes()).payload)
    document["webauthn"] = {ANNA.keyid: ANNA.passkey.to_json()}
    anna = {"name": "anna", "roles": ["approver"], "keys": [ANNA.keyid], "identities": []}
    document |= {"version": 2, "principals": [*document["principals"], anna]}
    roots = [load_private_key(harness.state / "roots" / f"root-{n}.key") for n in (1, 2)]
    envelope = dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *roots)
    (harness.state / "next.json").write_bytes(envelope.encode())
    harness.start()
    done = harness.command("policy", "accept", str(harness.state / "next.json"))
    assert done.exit_code == 0, done.output
    yield harness
    harness.stop()


def channel(harness: GatewayHarness, token: str = "", certificate: str = "console") -> grpc.Channel:
    """A connection with the console's certificate, which names nobody."""
    profile = harness.profile("admin")
    pem = (harness.state / "tls" / f"{certificate}.pem").read_bytes()
    key = (harness.state / "tls" / f"{certificate}.key").read_bytes()
    authority = profile.server_authority.read_bytes()
    access = Access(profile.endpoint, authority, token or None, pem, key)
    return grpc.secure_channel(access.endpoint, access.credentials())


def signed_in(harness: GatewayHarness) -> str:
    credentials = CredentialServiceStub(channel(harness))
    challenge = credentials.CreateLoginChallenge(messages.CreateLoginChallengeRequest()).challenge
    answer = ANNA.answer(challenge)
    assertion = messages.PasskeyAssertion(
        key_id=ANNA.keyid,
        challenge=challenge,
        authenticator_data=answer.authenticator_data,
        client_data_json=answer.client_data,
        signature=answer.signature,
    )
    request = messages.CreateBoundTokenRequest(assertion=assertion)
    issued = credentials.CreateBoundToken(request)
    assert issued.principal == "anna"
    assert refusal(credentials.CreateBoundToken, request) is Reason.LOGIN_CHALLENGE
    return issued.token


def test_who_signs_in_by_passkey_approves_by_passkey(harness: GatewayHarness) -> None:
    proposal = harness.propose("digits", 1)
    said = Approval(proposal.digest, "anna", "I have read it.", format_time(now()))
    registry = RegistryServiceStub(channel(harness, signed_in(harness)))
    request = registry_pb2.CreateApprovalRequest(envelope=ANNA.envelope(said).encode())
    approved = registry.CreateApproval(request).proposal
    harness.governance("approver-1").approve(proposal.digest, "reviewed")
    pointer = harness.governance("admin").promote(proposal.digest, "the first")
    # The engine loads it only if it verifies the passkey's signature.
    harness.await_version("digits", 1)
    assert len(approved.approvals) == 1
    assert pointer.version == 1


def test_a_token_is_good_for_nothing_without_the_certificate(harness: GatewayHarness) -> None:
    registry = RegistryServiceStub(channel(harness, signed_in(harness), "gateway"))
    with pytest.raises(grpc.RpcError):
        # The servers' authority issued that one: the handshake fails.
        registry.GetPolicy(registry_pb2.GetPolicyRequest(), timeout=10)
    profile = harness.profile("client")
    authority = profile.server_authority.read_bytes()
    access = Access(profile.endpoint, authority, signed_in(harness), None, None)
    elsewhere = RegistryServiceStub(grpc.secure_channel(access.endpoint, access.credentials()))
    reason = refusal(elsewhere.GetPolicy, registry_pb2.GetPolicyRequest())
    assert reason is Reason.TOKEN_BINDING


def test_an_issuers_token_is_exchanged_for_a_bound_one(harness: GatewayHarness) -> None:
    key = (harness.state / "issuer" / "issuer.key").read_bytes()
    token = mint_token(key, "client", now(), timedelta(minutes=5))
    credentials = CredentialServiceStub(channel(harness))
    issued = credentials.CreateBoundToken(messages.CreateBoundTokenRequest(token=token))
    assert issued.principal == "client"
    registry = RegistryServiceStub(channel(harness, issued.token))
    assert registry.GetPolicy(registry_pb2.GetPolicyRequest()).envelopes


def test_what_is_no_credential(harness: GatewayHarness) -> None:
    credentials = CredentialServiceStub(channel(harness))
    nothing = messages.CreateBoundTokenRequest()
    assert refusal(credentials.CreateBoundToken, nothing) is Reason.CREDENTIAL_MISSING
    profile = harness.profile("client")
    access = Access(profile.endpoint, profile.server_authority.read_bytes(), None, None, None)
    without = CredentialServiceStub(grpc.secure_channel(access.endpoint, access.credentials()))
    asked = messages.CreateLoginChallengeRequest()
    assert refusal(without.CreateLoginChallenge, asked) is Reason.TOKEN_BINDING
