"""Walks every method of every service: who may call it, and that nobody else may.

The list comes from the descriptors, so a method that was forgotten in the rules fails here, and so
does a service of our protos that neither the gateway nor the engine lists.
"""

import importlib
import pkgutil
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest

import sealgate.oip
import sealgate.v1
from gateway.auth.method_rules import ANYONE, AUDIT_READS, RULES
from gateway.services.health import SERVICES
from inference.server.server import SERVICES as ENGINES
from sealgate.reasons import Reason
from sealgate.remote import access_of, connect, reason_of
from sealgate.trust.times import format_time
from sealgate.v1.credential_pb2 import CreateApiKeyRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from tests.support.harness.gateway import refusal

METHODS = [
    (f"/{service.full_name}/{method.name}", method)
    for service in SERVICES
    for method in service.methods
]
OURS = [
    service
    for package in (sealgate.oip, sealgate.v1)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    if module.name.endswith("_pb2")
    for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()
]
PEOPLE = {
    "publisher": "publisher",
    "approver-1": "approver",
    "admin": "admin",
    "auditor": "auditor",
    "client": "client",
    "events": "events",
}


def invoke(channel, path, method, message=b""):
    """Calls a method with an empty request or other bytes, whatever its kind."""
    raw = {"request_serializer": bytes, "response_deserializer": bytes}
    if method.client_streaming and method.server_streaming:
        return list(channel.stream_stream(path, **raw)(iter([message]), timeout=60))
    if method.client_streaming:
        return channel.stream_unary(path, **raw)(iter([message]), timeout=60)
    if method.server_streaming:
        call = channel.unary_stream(path, **raw)(message, timeout=60)
        try:
            return next(call)
        finally:
            call.cancel()
    return channel.unary_unary(path, **raw)(message, timeout=60)


def test_every_method_has_a_rule_and_no_rule_is_left_over():
    offered = {path for path, _ in METHODS}
    # Older releases of the health service lack one method of the newer ones.
    assert offered | {"/grpc.health.v1.Health/List"} == set(RULES)


def test_every_service_of_our_protos_is_somebodys():
    """Of the gateway, which is walked here, or of the engine: see `test_hostile_gateway`."""
    names = {service.full_name for service in OURS}
    assert len(names) >= 8
    assert names <= {service.full_name for service in (*SERVICES, *ENGINES)}


def test_what_is_not_listed_is_not_offered(harness):
    foreign = [
        f"/{service.full_name}/{method.name}"
        for service in (*OURS, *ENGINES)
        if service not in SERVICES
        for method in service.methods
    ]
    assert "/sealgate.v1.EngineService/GetCosts" in foreign
    with connect(harness.profile("admin")) as channel:
        for path in foreign:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"", timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, path


def test_what_only_auditors_see_is_an_audit_read():
    auditors = {path for path, roles in RULES.items() if roles == {"auditor"}}
    assert auditors == AUDIT_READS


# They look at the credential themselves: what each asks of who shows none.
EXCHANGES = {
    "/sealgate.v1.CredentialService/CreateLoginChallenge": Reason.TOKEN_BINDING,
    "/sealgate.v1.CredentialService/CreateBoundToken": Reason.CREDENTIAL_MISSING,
}


def test_few_methods_are_open_to_anyone():
    assert {path.rpartition("/")[2] for path, roles in RULES.items() if roles == ANYONE} == {
        "ServerLive",
        "ServerReady",
        "CreateLoginChallenge",
        "CreateBoundToken",
        "Check",
        "List",
    }


@pytest.mark.parametrize(("path", "method"), METHODS, ids=[path for path, _ in METHODS])
def test_anonymous_callers_are_refused(harness, path, method):
    profile = harness.profile("client")
    credentials = grpc.ssl_channel_credentials(profile.server_authority.read_bytes())
    with grpc.secure_channel(profile.endpoint, credentials) as channel:
        if RULES[path] == ANYONE and path not in EXCHANGES:
            invoke(channel, path, method)
        else:
            reason = EXCHANGES.get(path, Reason.CREDENTIAL_MISSING)
            assert refusal(invoke, channel, path, method) is reason


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize(("path", "method"), METHODS, ids=[path for path, _ in METHODS])
def test_roles_decide_before_the_request_is_looked_at(harness, path, method, person):
    with connect(harness.profile(person)) as channel:
        try:
            invoke(channel, path, method)
            reason = None
        except grpc.RpcError as error:
            reason = reason_of(error)
            # Our handlers give a reason for everything; foreign ones answer an empty request.
            assert reason is not None
        allowed = RULES[path] == ANYONE or PEOPLE[person] in RULES[path]
        assert (reason is Reason.ROLE_TOO_LOW) is not allowed


@pytest.fixture(scope="module")
def keyed(harness):
    """A channel for each person, who calls with an API key."""
    admin = CredentialServiceStub(harness.channel("admin"))
    expires = format_time(datetime.now(UTC) + timedelta(hours=1))
    with ExitStack() as channels:
        found = {}
        for person in PEOPLE:
            request = CreateApiKeyRequest(holder=person, label="walk", expire_time=expires)
            profile = harness.profile("client")
            access = replace(access_of(profile), token=admin.CreateApiKey(request).secret)
            channel = grpc.secure_channel(access.endpoint, access.credentials())
            found[person] = channels.enter_context(channel)
        yield found


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize(("path", "method"), METHODS, ids=[path for path, _ in METHODS])
def test_roles_decide_about_api_keys_too(keyed, path, method, person):
    try:
        invoke(keyed[person], path, method)
        reason = None
    except grpc.RpcError as error:
        reason = reason_of(error)
        assert reason is not None
    allowed = RULES[path] == ANYONE or PEOPLE[person] in RULES[path]
    assert (reason is Reason.ROLE_TOO_LOW) is not allowed


@pytest.mark.parametrize("person", [None, *PEOPLE])
@pytest.mark.parametrize("message", [b"", b"\xff\x00garbage"], ids=["empty", "garbage"])
def test_no_method_raises(harness, caplog, person, message):
    """No caller and no bytes make a method raise, those of foreign services included."""
    profile = harness.profile(person or "client")
    credentials = grpc.ssl_channel_credentials(profile.server_authority.read_bytes())
    walked = dict(METHODS)
    # A newer release of the health service has it.
    walked.setdefault("/grpc.health.v1.Health/List", walked["/grpc.health.v1.Health/Check"])
    codes = {}
    with ExitStack() as stack:
        channel = stack.enter_context(
            grpc.secure_channel(profile.endpoint, credentials)
            if person is None
            else connect(profile)
        )
        for path, method in walked.items():
            try:
                invoke(channel, path, method, message)
            except StopIteration:
                pass
            except grpc.RpcError as error:
                codes[path] = error.code()
    assert not {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL} & set(codes.values()), codes
    assert not [record.getMessage() for record in caplog.records if record.exc_info]


def test_a_method_that_is_not_offered(harness):
    with connect(harness.profile("client")) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelUnload")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
