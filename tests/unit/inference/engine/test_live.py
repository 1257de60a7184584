"""The index of what pointers name: each version once, with the reason why it does not answer."""

from typing import Any

import pytest

from inference.engine.live_table import EMPTY, ClosedAlias, IndexedVersion, LiveTable, LiveVersion
from sealgate.reasons import Reason

UNTIL = 100.0
NOT_LOADED: Any = None
UNPROVED: Any = None


def live(model: str, alias: str, version: int, until: float = UNTIL) -> LiveVersion:
    digests = ("sha256:1", "sha256:2")
    return LiveVersion(model, alias, version, "sha256:0", 1, *digests, until, NOT_LOADED, UNPROVED)


def table(lives: list[LiveVersion], closed: dict[tuple[str, str], ClosedAlias]) -> LiveTable:
    return LiveTable.of(
        None, UNTIL, 0.0, {(item.model, item.alias): item for item in lives}, closed
    )


def test_versions_are_listed_once_and_in_order() -> None:
    found = table(
        [live("b", "production", 2), live("b", "canary", 10), live("a", "production", 3)],
        {
            ("b", "shadow"): ClosedAlias(2, Reason.VERSION_NOT_LIVE),
            ("c", "production"): ClosedAlias(0, Reason.VERSION_NOT_LIVE),
            ("c", "canary"): ClosedAlias(7, Reason.VERSION_REVOKED),
        },
    ).index(UNTIL - 1)
    assert found == [
        IndexedVersion("a", 3, None),
        # An alias that does not answer takes nothing from another that does.
        IndexedVersion("b", 2, None),
        IndexedVersion("b", 10, None),
        IndexedVersion("c", 0, Reason.VERSION_NOT_LIVE),
        IndexedVersion("c", 7, Reason.VERSION_REVOKED),
    ]


@pytest.mark.parametrize(
    ("clock", "until", "reason"),
    [(50.0, 10.0, Reason.POINTER_STALE), (UNTIL, 2 * UNTIL, Reason.POLICY_EXPIRED)],
)
def test_what_is_covered_no_longer_says_so(clock: float, until: float, reason: Reason) -> None:
    found = table([live("a", "production", 3, until)], {})
    assert found.index(clock) == [IndexedVersion("a", 3, reason)]


def test_nothing_is_live_before_the_first_update() -> None:
    assert EMPTY.index(0.0) == []
