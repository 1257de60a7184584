"""Records and pages that people filled: pages end early, and nothing is left out."""

from collections.abc import Callable
from typing import Any

import pytest

from registry.listing import ListQuery, Page, paging
from registry.promotion import replies
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.harness.registry import RegistryHarness


def pages(read: Callable[[ListQuery], Page[Any]]) -> list[tuple[Any, ...]]:
    """The records of each page."""
    found, token = [], ""
    while True:
        page = read(ListQuery(200, token))
        found.append(page.records)
        token = page.next_page_token
        if not token:
            return found


def test_of_proposals_with_many_comments(
    harness: RegistryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = harness.publish()
    made = []
    for number in range(4):
        proposal = harness.propose(version, not_after=f"2026-12-01T00:00:{number:02}Z")
        made.append(harness.comment(proposal.digest, text="ü" * (500 if number else 1)))
    room = sum(len(envelope) for record in made[:2] for envelope in record.comments)
    monkeypatch.setattr(paging, "LARGEST_PAGE", room)
    read = harness.registry.proposals.list
    found = pages(lambda asked: read("digits", asked))
    assert [len(page) for page in found] == [2, 1, 1]
    assert [record for page in found for record in page] == made


def test_of_versions_with_much_evidence(
    harness: RegistryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [harness.publish(name) for name in ("one", "two", "three")]
    room = sum(len(envelope) for record in made[:2] for envelope in record.evidence)
    monkeypatch.setattr(paging, "LARGEST_PAGE", room)
    read = harness.registry.versions.list
    found = pages(lambda asked: read("digits", asked))
    assert [len(page) for page in found] == [2, 1]
    assert tuple(record for page in found for record in page) == tuple(made)
    # Without evidence there is room for all.
    assert len(read("digits", ListQuery(200), signed=False).records) == len(made)


def test_of_moves_with_large_bundles(
    harness: RegistryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = harness.publish()
    made = [harness.release(version, number) for number in range(4)]
    room = sum(len(record.bundle) for record in made[2:])
    monkeypatch.setattr(paging, "LARGEST_PAGE", room)
    history = harness.registry.pointers.history
    for alias in ("production", None):

        def read(asked: ListQuery, alias: str | None = alias) -> Page[Any]:
            return history("digits", alias, asked)

        found = pages(read)
        assert [len(page) for page in found] == [2, 2]
        assert [record for page in found for record in page] == made[::-1]


@pytest.mark.parametrize("of", ["LARGEST_OF_ONE", "LARGEST_COMMENTS"])
def test_comments_leave_room_for_approvals(
    harness: RegistryHarness, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    proposal = harness.propose(harness.publish())
    size = len(harness.comment(proposal.digest).comments[0])
    monkeypatch.setattr(replies, of, 2 * size)
    harness.comment(proposal.digest, text="See row 18.")
    with refused(Reason.COMMENTS_TOO_MANY):
        harness.comment(proposal.digest, text="See row 19.")
    if of == "LARGEST_OF_ONE":
        harness.comment(proposal.digest, "arne")
    # A comment that is stored already needs no room.
    assert len(harness.comment(proposal.digest).comments) >= 2
