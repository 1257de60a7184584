"""Lists over the wire: pages to the end, and what is refused of sizes, tokens and filters."""

from datetime import UTC, datetime, timedelta

import pytest

from sealgate.audit import Auditor
from sealgate.reasons import Reason
from sealgate.remote.calls import list_all
from sealgate.trust.times import format_time
from sealgate.v1 import credential_pb2, log_pb2, registry_pb2
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from tests.support.harness.gateway import refusal

ALIAS = "models/digits/aliases/production"
# For each list: its service, its request, and where a page holds its items.
LISTS = {
    "ListModels": ("registry", registry_pb2.ListModelsRequest(), "models"),
    "ListVersions": ("registry", registry_pb2.ListVersionsRequest(model="digits"), "versions"),
    "ListProposals": ("registry", registry_pb2.ListProposalsRequest(model="digits"), "proposals"),
    "ListPointers": ("registry", registry_pb2.ListPointersRequest(name=ALIAS), "pointers"),
    "ListApiKeys": ("credentials", credential_pb2.ListApiKeysRequest(), "api_keys"),
    "ListLogs": ("logs", log_pb2.ListLogsRequest(), "origins"),
}
FIELD = {"ListPointers": "action", "ListProposals": "alias", "ListLogs": "origin"}


@pytest.fixture(scope="module")
def services(harness):
    """The services as an auditor calls them, with more than one item in every list."""
    for name in ("lists-1", "lists-2"):
        request = registry_pb2.CreateModelRequest(model=name)
        harness.registry("publisher").CreateModel(request)
        expires = format_time(datetime.now(UTC) + timedelta(hours=1))
        key = credential_pb2.CreateApiKeyRequest(holder="client", label=name, expire_time=expires)
        CredentialServiceStub(harness.channel("admin")).CreateApiKey(key)
    harness.propose("digits", 1)
    harness.promote("digits", 2)
    harness.governance("admin").rollback("digits", "production", 1, "complaints")
    harness.await_version("digits", 1)
    channel = harness.channel("auditor")
    return {
        "registry": harness.registry("auditor"),
        "credentials": CredentialServiceStub(channel),
        "logs": harness.logs(),
    }


def copy(request, **fields):
    other = type(request)()
    other.CopyFrom(request)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


@pytest.mark.parametrize("name", LISTS)
def test_pages_of_one_hold_what_one_page_holds(services, name):
    service, request, field = LISTS[name]
    method = getattr(services[service], name)
    whole = method(request)
    assert not whole.next_page_token
    assert len(getattr(whole, field)) > 1
    assert list(list_all(method, copy(request, page_size=1), field)) == list(getattr(whole, field))
    assert list(list_all(method, copy(request), field, limit=1)) == [getattr(whole, field)[0]]


def test_the_basic_view_of_versions_has_all_but_signature_and_evidence(services):
    whole = registry_pb2.ListVersionsRequest(model="digits")
    basic = copy(whole, view=registry_pb2.VERSION_VIEW_BASIC)
    listed = services["registry"].ListVersions(basic).versions
    expected = services["registry"].ListVersions(whole).versions
    for version in expected:
        assert version.signature
        assert version.evidence
        for name in ("signature", "evidence", "attached"):
            version.ClearField(name)
    assert list(listed) == list(expected)


@pytest.mark.parametrize("name", LISTS)
def test_what_is_refused(services, name):
    service, request, _ = LISTS[name]
    method = getattr(services[service], name)
    assert refusal(method, copy(request, page_size=-1)) is Reason.PARAMETER_MALFORMED
    assert refusal(method, copy(request, page_token="2")) is Reason.PAGE_TOKEN_MALFORMED
    for bad in ("nothing = 1", "' OR '1'='1", "(" * 900):
        assert refusal(method, copy(request, filter=bad)) is Reason.FILTER_MALFORMED
    token = method(copy(request, page_size=1)).next_page_token
    other = copy(request, page_token=token, filter=f"{FIELD.get(name, 'name')}:*")
    assert refusal(method, other) is Reason.PAGE_TOKEN_MALFORMED


def test_a_filter_of_logs(services):
    logs = services["logs"]
    first, second = sorted(logs.ListLogs(log_pb2.ListLogsRequest()).origins)
    request = log_pb2.ListLogsRequest(filter=f'NOT origin = "{first}"')
    assert list(logs.ListLogs(request).origins) == [second]


def test_an_auditor_reads_all_pages_of_logs(harness, monkeypatch):
    auditor = Auditor(harness.channel("auditor"), harness.governance("auditor").policy())
    there = auditor.origins()
    pages = []
    listing = auditor.logs.ListLogs

    def one_at_a_time(request):
        request.page_size = 1
        pages.append(listing(request))
        return pages[-1]

    monkeypatch.setattr(auditor.logs, "ListLogs", one_at_a_time)
    assert auditor.origins() == there
    assert len(pages) == len(there) == 2
