"""Rights over the wire: a gateway whose policy limits everyone, from upload to answer."""

import json

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import RECEIPT_METADATA, reason_of
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.policy import Policy
from sealgate.trust.receipts import Receipt
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows


def right(who, actions, models=("digits",), aliases=("*",)):
    return {
        "principals": [],
        "roles": list(who),
        "actions": list(actions),
        "models": list(models),
        "aliases": list(aliases),
    }


STAFF = ("auditor", "publisher", "approver", "admin")
RIGHTS = [
    right(("client",), ("infer", "metadata"), aliases=("production",)),
    right(STAFF, ("read", "metadata")),
    right(("publisher",), ("publish", "propose")),
    right(("approver",), ("approve",), aliases=("production",)),
    right(("admin",), ("promote",), aliases=("production",)),
]


def limit(state, rights):
    """Gives an installation that never ran a first policy with these rights."""
    path = state / "trust" / "policy.json"
    document = json.loads(Envelope.decode(path.read_bytes()).payload) | {"rights": rights}
    roots = [load_private_key(state / "roots" / f"root-{n}.key") for n in (1, 2)]
    path.write_bytes(dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *roots).encode())


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    harness = GatewayHarness(tmp_path_factory.mktemp("rights") / "state")
    limit(harness.state, RIGHTS)
    harness.start()
    try:
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


def infer(harness, model="digits", **changes):
    request = question(model, rows("digits"))
    parameters = changes.pop("parameters", {})
    for name, value in changes.items():
        setattr(request, name, value)
    for name, value in parameters.items():
        request.parameters[name].string_param = value
    return lambda: harness.inference().ModelInfer(request, timeout=60)


def test_what_the_rights_cover_is_answered(limited):
    assert infer(limited)().model_version == "1"
    metadata = limited.inference().ModelMetadata(oip.ModelMetadataRequest(name="digits"))
    assert metadata.name == "digits"


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("digits", {"parameters": {"alias": "canary"}}),
        ("digits", {"model_version": "1"}),
        ("fraud", {}),
        ("fraud", {"model_version": "1"}),
    ],
)
def test_what_they_do_not_cover_is_denied_whether_it_exists_or_not(limited, model, changes):
    assert refusal(infer(limited, model, **changes)) is Reason.RIGHT_MISSING


def test_the_denial_is_recorded_with_its_model(limited):
    request = question("fraud", rows("digits"))
    request.parameters["receipt"].bool_param = True
    with pytest.raises(grpc.RpcError) as caught:
        limited.inference().ModelInfer(request, timeout=60)
    assert reason_of(caught.value) is Reason.RIGHT_MISSING
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    receipt = Receipt.decode(dict(caught.value.trailing_metadata())[RECEIPT_METADATA])
    opened = json.loads(receipt.encode())["opened"]
    assert opened["outcome"]["value"] == "RIGHT_MISSING"
    assert opened["model"]["value"] == "fraud"


def test_statistics_and_index_are_of_what_the_rights_cover(limited):
    stub = limited.inference()
    (found,) = stub.ModelStatistics(oip.ModelStatisticsRequest(), timeout=60).model_stats
    (listed,) = stub.RepositoryIndex(oip.RepositoryIndexRequest(), timeout=60).models
    assert (found.name, listed.name) == ("digits", "digits")
    for name in ("fraud", "nothing"):
        request = oip.ModelStatisticsRequest(name=name)
        assert refusal(stub.ModelStatistics, request, timeout=60) is Reason.RIGHT_MISSING


@pytest.mark.parametrize("name", ["digits", "fraud"])
def test_metadata_does_not_tell_what_exists(limited, name):
    stub = limited.inference()
    version = "1" if name == "digits" else ""
    for call, request in (
        (stub.ModelReady, oip.ModelReadyRequest(name=name, version=version)),
        (stub.ModelMetadata, oip.ModelMetadataRequest(name=name, version=version)),
        (stub.ModelConfig, oip.ModelConfigRequest(name=name, version=version)),
    ):
        assert refusal(call, request, timeout=60) is Reason.RIGHT_MISSING


def test_the_control_plane_is_limited_too(limited):
    request = messages.CreateModelRequest(model="fraud")
    assert refusal(limited.registry("publisher").CreateModel, request) is Reason.RIGHT_MISSING
    request = messages.ListModelsRequest()
    assert refusal(limited.registry("auditor").ListModels, request) is Reason.RIGHT_MISSING
    canary = limited.propose("digits", 1, "canary").digest
    admin = limited.governance("admin")
    for act, *arguments in (
        (limited.governance("approver-1").approve, canary, "reviewed"),
        (admin.promote, canary, "try"),
        (admin.revoke, "digits", 1, "try"),
    ):
        assert refusal(act, *arguments) is Reason.RIGHT_MISSING
