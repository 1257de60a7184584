"""Going back to an earlier release is refused where its log would tell of rows that it has not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from registry.state.unit_of_work import Ledger
from registry.storage import revisions
from registry.uploads.collection import Collector
from sealgate.trust.canonical import sha256
from tests.support.builders.documents.people import NOW, REGISTRY_LOG, key
from tests.support.harness.registry import RegistryHarness


def issue_key(harness: RegistryHarness) -> None:
    harness.registry.api_keys.create(
        "otto", "0" * 12, "carla", "", NOW + timedelta(days=1), "0" * 64
    )


def collect(harness: RegistryHarness) -> None:
    harness.artifacts.put([b"unnamed"], 7, sha256(b"unnamed"))
    ledger = Ledger.join(harness.database, REGISTRY_LOG, key("registry-log"), harness.clock)
    later = datetime.now(UTC) + timedelta(hours=1)
    Collector(ledger, harness.artifacts, "operator:root").collect(later, dry_run=False)


@pytest.mark.parametrize(("fill", "table"), [(issue_key, "api_keys"), (collect, "collections")])
def test_rows_that_the_log_tells_of_are_not_dropped(
    harness: RegistryHarness, fill: Callable[[RegistryHarness], None], table: str
) -> None:
    fill(harness)
    with (
        pytest.raises(revisions.RowsInTheWay, match=f"{table} has rows"),
        harness.database.writing() as connection,
    ):
        revisions.downgrade(connection, "registry", "0002")
    # Nothing has changed: the registry goes on.
    harness.registry.models.create("paula", "letters")
    harness.reopen().verify()


def test_tables_without_rows_go_and_come_back(harness: RegistryHarness) -> None:
    for step in (revisions.downgrade, revisions.upgrade):
        with harness.database.writing() as connection:
            step(connection, "registry", "0002" if step is revisions.downgrade else "head")
            connection.commit()
    issue_key(harness)
    harness.reopen().verify()
