"""Going back to an earlier release is refused where its log would tell of rows that it has not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from registry.state.unit_of_work import Ledger
from registry.storage import revisions
from registry.uploads.collection import Collector
from sealgate.trust.canonical import sha256
from tests.support.bureau import Bureau
from tests.support.people import NOW, REGISTRY_LOG, key


def issue_key(bureau: Bureau) -> None:
    bureau.registry.api_keys.create(
        "otto", "0" * 12, "carla", "", NOW + timedelta(days=1), "0" * 64
    )


def collect(bureau: Bureau) -> None:
    bureau.artifacts.put([b"unnamed"], 7, sha256(b"unnamed"))
    ledger = Ledger.join(bureau.database, REGISTRY_LOG, key("registry-log"), bureau.clock)
    later = datetime.now(UTC) + timedelta(hours=1)
    Collector(ledger, bureau.artifacts, "operator:root").collect(later, dry_run=False)


@pytest.mark.parametrize(("fill", "table"), [(issue_key, "api_keys"), (collect, "collections")])
def test_rows_that_the_log_tells_of_are_not_dropped(
    bureau: Bureau, fill: Callable[[Bureau], None], table: str
) -> None:
    fill(bureau)
    with (
        pytest.raises(revisions.RowsInTheWay, match=f"{table} has rows"),
        bureau.database.writing() as connection,
    ):
        revisions.downgrade(connection, "registry", "0002")
    # Nothing has changed: the registry goes on.
    bureau.registry.models.create("paula", "letters")
    bureau.reopen().verify()


def test_tables_without_rows_go_and_come_back(bureau: Bureau) -> None:
    for step in (revisions.downgrade, revisions.upgrade):
        with bureau.database.writing() as connection:
            step(connection, "registry", "0002" if step is revisions.downgrade else "head")
            connection.commit()
    issue_key(bureau)
    bureau.reopen().verify()
