"""An intruder with full SQL access to a registry, and with whatever keys a test lends them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table, delete, insert, select, text, update

from gateway.sync import RegistrySnapshot
from inference.backends.local import LocalLoader
from inference.engine import TrustAnchor
from inference.engine.engine import Engine, UpdateResult
from inference.engine.trust_state import RollbackGuardFile
from inference.runtime.settings import CpuSettings
from registry.policy.freshness import newest_state, stored_envelope
from registry.state import schema
from registry.state.records import VersionRecord
from registry.storage.database import Database
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Freshness, Pointer, PointerBundle, oms, sign_statement
from sealgate.trust.times import format_time
from tests.support.builders.documents.people import at, key, p256_key
from tests.support.harness.registry import RegistryHarness

Rows = dict[Table, list[dict[str, Any]]]


class Intruder:
    """Reads and writes every table, as an administrator of the database can."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def copy(self, tables: Iterable[Table]) -> Rows:
        """The rows of these tables now."""
        with self._database.reading() as connection:
            return {
                table: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in tables
            }

    def put_back(self, rows: Rows) -> None:
        """Have the tables hold what they held then, and nothing else."""
        with self._database.writing() as connection:
            for table in reversed(list(rows)):
                connection.execute(delete(table))
            for table, values in rows.items():
                if values:
                    connection.execute(insert(table), values)
            connection.commit()

    def delete(self, table: Table, *where: Any) -> None:
        with self._database.writing() as connection:
            assert connection.execute(delete(table).where(*where)).rowcount
            connection.commit()

    def update(self, table: Table, *where: Any, **values: Any) -> None:
        with self._database.writing() as connection:
            assert connection.execute(update(table).where(*where).values(**values)).rowcount
            connection.commit()

    def undo_writes(self, table: Table, *, altered: bool = False, late: bool = False) -> None:
        """Have a trigger undo each row that is inserted into a table, or updated in it.

        With `late` it acts at the commit, which only PostgreSQL can.
        """
        kind = "UPDATE" if altered else "INSERT"
        here = text(" AND ".join(f'"{c.name}" = NEW."{c.name}"' for c in table.primary_key))
        old = {c: text(f'OLD."{c.name}"') for c in table.columns if not c.primary_key}
        undo = update(table).values(old) if altered else delete(table)
        action = f"{undo.where(here)};"
        with self._database.writing() as connection:
            if connection.dialect.name == "sqlite":
                when = f'AFTER {kind} ON "{table.name}"'
                connection.execute(text(f"CREATE TRIGGER undo {when} BEGIN {action} END"))
            else:
                body = f"BEGIN IF pg_trigger_depth() = 1 THEN {action} END IF; RETURN NULL; END"
                function = f"RETURNS trigger LANGUAGE plpgsql AS $${body}$$"
                connection.execute(text(f"CREATE FUNCTION undo() {function}"))
                constraint = "CONSTRAINT " if late else ""
                when = f'AFTER {kind} ON "{table.name}"' + (
                    " DEFERRABLE INITIALLY DEFERRED" if late else ""
                )
                connection.execute(
                    text(
                        f"CREATE {constraint}TRIGGER undo {when} "
                        "FOR EACH ROW EXECUTE FUNCTION undo()"
                    )
                )
            connection.commit()

    def stop_undoing(self, table: Table) -> None:
        """Remove the trigger of `undo_writes`."""
        with self._database.writing() as connection:
            if connection.dialect.name == "sqlite":
                connection.execute(text("DROP TRIGGER undo"))
            else:
                connection.execute(text(f'DROP TRIGGER undo ON "{table.name}"'))
                connection.execute(text("DROP FUNCTION undo()"))
            connection.commit()

    def point(self, bundle: PointerBundle) -> None:
        """Have an alias's newest row hold a pointer, or add a row where its sequence is new."""
        pointer = Pointer.decode(bundle.pointer.payload)
        table = schema.POINTERS
        here = (table.c.model == pointer.model, table.c.alias == pointer.alias)
        values = {
            "sequence": pointer.sequence,
            "digest": bundle.pointer.payload_digest,
            "action": pointer.action,
            "version": pointer.version,
            "version_digest": pointer.digest,
            "bundle": bundle.encode(),
        }
        with self._database.writing() as connection:
            query = select(table).where(*here).order_by(table.c.sequence.desc()).limit(1)
            row = dict(connection.execute(query).mappings().one())
            if row["sequence"] >= pointer.sequence:
                connection.execute(
                    update(table).where(*here, table.c.sequence == row["sequence"]).values(values)
                )
            else:
                # An entry that there is, of something else.
                connection.execute(insert(table), {**row, **values, "entry": 0})
            connection.commit()

    def declare_fresh(self) -> None:
        """With the stolen key of the freshness service: sign whatever the tables say."""
        with self._database.writing() as connection:
            stored = stored_envelope(connection)
            assert stored is not None
            before = Freshness.decode(Envelope.decode(stored).payload)
            state = newest_state(connection)
            statement = Freshness(
                before.sequence + 1, state.pointers, state.revoked, at(minutes=-1), at(minutes=59)
            )
            values = {
                "sequence": statement.sequence,
                "envelope": sign_statement(statement, key("fresh")).encode(),
            }
            connection.execute(update(schema.FRESHNESS).values(values))
            connection.commit()


def publish(harness: RegistryHarness, files: dict[str, bytes]) -> VersionRecord:
    """Register a version that an engine can load."""
    manifest = harness.upload(files)
    signature = oms.sign(manifest, p256_key("paula"))
    evidence = [harness.evidence(manifest, created=format_time(harness.now))]
    return harness.registry.versions.register(
        "paula", "digits", manifest.encode(), signature, evidence, harness.commitment()
    )


def engine_of(harness: RegistryHarness) -> Engine:
    """An engine that trusts the registry's roots, with a memory of its own."""
    anchor = TrustAnchor(harness.policy.root_keys(), 2)
    seen = RollbackGuardFile.open(harness.folder / "seen.json")
    return Engine(anchor, seen, harness.clock, LocalLoader(CpuSettings(cores=2)))


def follow(engine: Engine, harness: RegistryHarness) -> UpdateResult:
    """The engine looks at what the database holds."""
    handover = RegistrySnapshot.of(harness.registry.snapshot(), harness.artifacts)
    return engine.update(handover, handover)
