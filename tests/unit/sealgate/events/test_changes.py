"""Changes as events: their kinds, and what cannot be read."""

import pytest

from sealgate.events.cloud_events import KINDS
from sealgate.events.registry_events import automatic, event_of
from sealgate.trust.policy import Principal
from sealgate.v1 import registry_pb2 as messages
from tests.support.builders.documents.people import make_policy

ORIGIN = "house.localhost/registry"


def change(kind, **payload):
    return messages.Change(
        index=7,
        kind=kind,
        time="2026-11-29T10:00:00Z",
        principal="somebody",
        subject="models/digits/aliases/production",
        leaf_hash=bytes(range(32)),
        **payload,
    )


def pointer(action, admin):
    return messages.Pointer(
        name="models/digits/aliases/production", action=action, admin=admin, version=2
    )


@pytest.mark.parametrize(
    ("action", "admin", "kind"),
    [
        ("promote", "admin", "alias.promoted"),
        ("rollback", "admin", "alias.rolled-back"),
        ("rollback", "service", "alias.rolled-back-automatically"),
    ],
)
def test_who_rolled_an_alias_back_decides_its_kind(action, admin, kind):
    moved = change(messages.CHANGE_KIND_POINTER_MOVED, pointer=pointer(action, admin))
    event = event_of(moved, ORIGIN, {"service"})
    assert (event.kind, event.model) == (kind, "digits")
    assert event.id == "7-0001020304050607"
    assert event.data["leaf_hash"] == bytes(range(32)).hex()


def test_rollbacks_are_automatic_by_services_that_are_no_admin():
    both = Principal("both", ("admin", "rollback"), (), ("mtls:both",))
    policy = make_policy(principals=(*make_policy().principals, both))
    assert {each.name for each in policy.with_role("rollback")} == {"guard", "both"}
    assert automatic(policy) == {"guard"}


def test_a_withdrawn_bound_names_its_version():
    version = messages.Version(
        name="models/digits/versions/3", screening_withdrawn="2026-11-29T09:00:00Z"
    )
    event = event_of(change(messages.CHANGE_KIND_SCREENING_WITHDRAWN, version=version), ORIGIN, ())
    assert event.kind == "screening.bound-withdrawn"
    assert (event.data["version"], event.data["withdrawn"]) == (3, "2026-11-29T09:00:00Z")


def test_a_change_of_a_kind_from_a_later_release_is_no_event():
    assert event_of(change(4711), ORIGIN, ()) is None


def test_a_document_of_another_form_is_left_out_and_the_change_is_told():
    proposal = messages.Proposal(digest="sha256:00", envelope=b"{}", approvals=[b"\xff"])
    event = event_of(change(messages.CHANGE_KIND_APPROVAL_ADDED, proposal=proposal), ORIGIN, ())
    assert (event.kind, event.data["proposal"]) == ("proposal.approved", "sha256:00")


@pytest.mark.parametrize("kind", messages.ChangeKind.values()[1:])
def test_every_kind_of_change_is_a_kind_of_event(kind):
    assert event_of(change(kind), ORIGIN, ()).kind in KINDS
