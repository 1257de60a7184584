"""The inventory says of each model how risky it is, whose, and until when approvals count."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sealgate.promotion.reviews import CURRENT, DUE, NO_END, OVERDUE, review_state
from sealgate.trust.times import parse_time
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.harness.policy_changes import Document, change


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(
        tmp_path_factory.mktemp("house") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        yield harness


def reviewed_within(days: int) -> Document:
    return {
        "risk": {"models": {"digits": "high"}, "approvals": {}},
        "review": {"days": {"high": days}, "owners": {"digits": "admin"}},
    }


def inventory(harness: GatewayHarness, *words: str) -> list[dict[str, str]]:
    result = harness.command("--as", "auditor", "model", "inventory", *words, "--json")
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout))


def test_without_the_section_approvals_count_without_end(harness: GatewayHarness) -> None:
    (row,) = inventory(harness)
    assert (row["model"], row["tier"], row["alias"]) == ("digits", "none", "production")
    assert (row["owner"], row["review"], row["review_by"]) == ("publisher", NO_END, "")


def test_the_owner_the_tier_and_the_review_date(harness: GatewayHarness) -> None:
    change(harness, lambda policy: policy.update(reviewed_within(90)))
    (row,) = inventory(harness)
    assert (row["tier"], row["owner"], row["review"]) == ("high", "admin", CURRENT)
    left = parse_time(row["review_by"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert inventory(harness, "--due") == []


def test_what_is_due_is_shown_alone_and_as_csv(harness: GatewayHarness) -> None:
    change(harness, lambda policy: policy.update(reviewed_within(2)))
    (row,) = inventory(harness, "--due")
    assert row["review"] == DUE
    result = harness.command("--as", "auditor", "model", "inventory", "--csv")
    (line,) = csv.DictReader(io.StringIO(result.stdout))
    assert line == {name: str(value) for name, value in row.items()}


def test_a_review_is_due_30_days_before_and_then_overdue() -> None:
    end = datetime(2027, 1, 31, tzinfo=UTC)
    assert review_state(None, end) == NO_END
    assert review_state(end, end - timedelta(days=31)) == CURRENT
    assert review_state(end, end - timedelta(days=29)) == DUE
    assert review_state(end, end + timedelta(seconds=1)) == OVERDUE
