"""A stream's caller is checked again before each message: rights, credentials, policy, time."""

import json
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from gateway.auth import tokens
from sealgate.reasons import Reason
from sealgate.remote import access_of, reason_of
from sealgate.setup.credentials import ISSUER, mint_token
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time
from sealgate.v1 import log_pb2
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.credential_pb2 import CreateApiKeyRequest, RevokeApiKeyRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.harness.gateway import GatewayHarness

pytestmark = pytest.mark.slow

RIGHTS = [
    {
        "principals": [],
        "roles": ["publisher", "admin"],
        "actions": ["read", "publish"],
        "models": ["*"],
        "aliases": ["*"],
    },
    {
        "principals": [],
        "roles": ["auditor"],
        "actions": ["read"],
        "models": ["shown"],
        "aliases": ["*"],
    },
]


def sign(harness, document):
    roots = [load_private_key(harness.state / "roots" / f"root-{n}.key") for n in (1, 2)]
    return dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *roots).encode()


def first_policy(harness):
    return Envelope.decode((harness.state / "trust" / "policy.json").read_bytes())


@pytest.fixture
def harness(tmp_path):
    harness = GatewayHarness(tmp_path / "state")
    document = json.loads(first_policy(harness).payload) | {"rights": RIGHTS}
    (auditor,) = (person for person in document["principals"] if person["name"] == "auditor")
    auditor["identities"] = sorted({*auditor["identities"], f"jwt:{ISSUER} auditor"})
    (harness.state / "trust" / "policy.json").write_bytes(sign(harness, document))
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nheartbeat = 0.2\n")
    harness.start()
    yield harness
    harness.stop()


def create(harness, name):
    request = messages.CreateModelRequest(model=name)
    harness.registry("publisher").CreateModel(request, timeout=60)


@contextmanager
def channel_with(harness, token):
    access = replace(access_of(harness.profile("client")), token=token)
    with grpc.secure_channel(access.endpoint, access.credentials()) as channel:
        yield channel


def both(channel, origin):
    """A stream of each kind, begun."""
    streams = [
        RegistryServiceStub(channel).WatchChanges(messages.WatchChangesRequest(), timeout=60),
        LogServiceStub(channel).WatchLog(log_pb2.WatchLogRequest(origin=origin), timeout=60),
    ]
    for stream in streams:
        next(stream)
    return streams


def ending(stream):
    """The reason that a stream comes to in the end."""
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    return reason_of(caught.value)


def test_what_no_right_covers_is_not_told(harness):
    begin = harness.gateway.store.registry.log.size()
    for name in ("hidden", "shown", "hidden-too", "shown-not"):
        create(harness, name)
    end = harness.gateway.store.registry.log.size()

    def told(person):
        request = messages.WatchChangesRequest(start=begin)
        stream, subjects = harness.registry(person).WatchChanges(request, timeout=60), []
        for message in stream:
            if message.HasField("change"):
                subjects.append(message.change.subject)
            if message.next >= end:
                stream.cancel()
                return subjects
        return None

    assert told("auditor") == ["models/shown"]
    assert told("admin") == [f"models/{n}" for n in ("hidden", "shown", "hidden-too", "shown-not")]


def test_a_revoked_api_key_ends_its_streams(harness):
    keys = CredentialServiceStub(harness.channel("admin"))
    expires = format_time(datetime.now(UTC) + timedelta(hours=1))
    request = CreateApiKeyRequest(holder="auditor", label="watch", expire_time=expires)
    created = keys.CreateApiKey(request, timeout=60)
    with channel_with(harness, created.secret) as channel:
        streams = both(channel, harness.gateway.store.registry.log.origin)
        keys.RevokeApiKey(
            RevokeApiKeyRequest(name=created.api_key.name, reason="leaked"), timeout=60
        )
        assert [ending(stream) for stream in streams] == [Reason.API_KEY_REVOKED] * 2


def test_a_token_that_expires_ends_its_streams(harness, monkeypatch):
    key = (harness.state / "issuer" / "issuer.key").read_bytes()
    token = mint_token(key, "auditor", datetime.now(UTC), timedelta(seconds=1))
    # However long it takes to begin the streams, they begin.
    monkeypatch.setattr(tokens, "LEEWAY_SECONDS", 3600)
    with channel_with(harness, token) as channel:
        streams = both(channel, harness.gateway.store.registry.log.origin)
        monkeypatch.setattr(tokens, "LEEWAY_SECONDS", 0)
        assert [ending(stream) for stream in streams] == [Reason.TOKEN_EXPIRED] * 2


def test_a_policy_that_drops_the_caller_ends_their_streams(harness):
    streams = both(harness.channel("auditor"), harness.gateway.store.registry.log.origin)
    before = json.loads(first_policy(harness).payload)
    people = [person for person in before["principals"] if person["name"] != "auditor"]
    document = before | {"principals": people, "version": before["version"] + 1}
    harness.gateway.store.registry.policies.accept("root", sign(harness, document))
    assert [ending(stream) for stream in streams] == [Reason.PRINCIPAL_UNKNOWN] * 2


def test_a_stream_ends_by_itself_when_its_time_is_over_and_is_resumed(tmp_path):
    harness = GatewayHarness(tmp_path / "short")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nstream = 1.0\n")
    harness.start()
    try:
        began = time.monotonic()
        for stream in both(harness.channel("auditor"), harness.gateway.store.registry.log.origin):
            # It ends, and without an error.
            list(stream)
        assert time.monotonic() - began < 50
    finally:
        harness.stop()
