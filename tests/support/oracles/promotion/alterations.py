"""The changes of an intruder with full access to the registry's database and files.

Nothing here signs anything; see `forgeries`. Each method does nothing where there is nothing to
alter.
"""

# ruff: noqa: S608 (table and column names are those of this file and of the schema)

import sqlite3
from contextlib import suppress
from pathlib import Path

from sealgate.trust.statements import Pointer, PointerBundle
from tests.support.oracles.promotion.documents import Place

TABLES = (
    "policies",
    "models",
    "versions",
    "evidence",
    "proposals",
    "approvals",
    "pointers",
    "revocations",
    "freshness",
    "commitments",
    "attachments",
    "log_leaves",
    "log_tiles",
    "log_checkpoints",
    "log_writer",
)
TRIGGERS = {
    "revocations vanish": "after insert on revocations begin delete from revocations; end",
    "pointers vanish": "after insert on pointers begin"
    " delete from pointers where rowid = new.rowid; end",
    "approvals vanish": "after insert on approvals begin"
    " delete from approvals where rowid = new.rowid; end",
    "policies vanish": "after insert on policies begin"
    " delete from policies where rowid = new.rowid; end",
    "freshness stays": "after update on freshness begin update freshness set"
    " envelope = old.envelope, sequence = old.sequence; end",
}
_MOST_COPIES = 3


class Alterations:
    """SQL on a database that its registry goes on using, and bytes in its artifact folder."""

    def __init__(self, sql: sqlite3.Connection, artifacts: Path) -> None:
        self._sql = sql
        self._artifacts = artifacts
        self._columns = {table: self._columns_of(table) for table in TABLES}
        self._copies: list[sqlite3.Connection] = []
        self._rows: dict[str, list[tuple]] = {}
        self._swapped: dict[Path, bytes] = {}

    def forget(self) -> None:
        """Give the files back their bytes, and begin anew."""
        for path, data in self._swapped.items():
            _write(path, data)
        for copy in self._copies:
            copy.close()
        self._swapped, self._copies, self._rows = {}, [], {}

    def delete(self, table: str, pick: int) -> None:
        """Delete one row."""
        if (row := self._row(table, pick)) is not None:
            self._keep(table)
            self._run(f"delete from {table} where rowid = ?", row)

    def exchange(self, table: str, column: int, one: int, other: int) -> None:
        """Exchange what two rows hold in a column."""
        name = self._columns[table][column % len(self._columns[table])]
        first, second = self._row(table, one), self._row(table, other)
        if first is None or first == second:
            return
        self._keep(table)
        read = f"select {name} from {table} where rowid = ?"
        values = [self._sql.execute(read, (row,)).fetchone()[0] for row in (first, second)]
        write = f"update {table} set {name} = ? where rowid = ?"
        # Where the column is unique, neither may have the other's for a moment.
        self._run(f"update {table} set {name} = ? where rowid = ?", b"-", first)
        self._run(write, values[0], second)
        self._run(write, values[1], first)

    def rename(self, table: str, column: str, value: str | int, pick: int) -> None:
        """Have a row name another model, alias, version or person."""
        if column in {name.strip('"') for name in self._columns[table]}:
            row = self._row(table, pick)
            self._run(f"update {table} set {column} = ? where rowid = ?", value, row)

    def replay(self, table: str, pick: int) -> None:
        """Put a row back that was there before it was deleted or changed."""
        kept = self._rows.get(table)
        if kept:
            marks = ", ".join("?" * len(self._columns[table]))
            row = kept[pick % len(kept)]
            self._run(f"insert or replace into {table} values ({marks})", *row)

    def copy(self) -> None:
        """Keep a copy of the whole database."""
        copy = sqlite3.connect(":memory:")
        self._sql.backup(copy)
        self._copies.append(copy)
        if len(self._copies) > _MOST_COPIES:
            self._copies.pop(0).close()

    def put_back(self, pick: int) -> bool:
        """Put a kept copy in the database's place; whether there is one."""
        if not self._copies:
            return False
        self._copies[pick % len(self._copies)].backup(self._sql)
        return True

    def truncate_log(self, count: int) -> None:
        """Cut the log's last entries off, with the checkpoints over them."""
        newest = self._sql.execute('select max("index") from log_leaves').fetchone()[0]
        least = (newest if isinstance(newest, int) else 0) + 1 - count
        self._run('delete from log_leaves where "index" >= ?', least)
        self._run("delete from log_checkpoints where size > ?", least)

    def drop_policies(self, version: int) -> None:
        """Have the chain of policies end before a version."""
        self._keep("policies")
        self._run("delete from policies where version >= ?", version)

    def set_trigger(self, name: str) -> None:
        """Have the database undo what others write."""
        self._run(f'create trigger if not exists "{name}" {TRIGGERS[name]}')

    def put_policy(self, version: int, digest: str, envelope: bytes) -> None:
        """Add a policy, or put it in the place of the one of that version."""
        entry = self._free_entry()
        row = (version, digest, envelope, entry, "2026-11-25T10:00:00Z", "olga")
        names = "version, digest, envelope, entry, time, principal"
        self._run(f"insert or replace into policies ({names}) values (?, ?, ?, ?, ?, ?)", *row)

    def point(self, bundle: PointerBundle, place: Place) -> None:
        """Have a pointer be the place's newest, whatever it says of itself."""
        pointer = Pointer.decode(bundle.pointer.payload)
        here = "model = ? and alias = ?"
        self._keep("pointers")
        self._run(f"delete from pointers where {here} and sequence >= ?", *place, pointer.sequence)
        digest = bundle.pointer.payload_digest
        self._run("delete from pointers where digest = ?", digest)
        values = (pointer.sequence, digest, pointer.action, pointer.version, pointer.digest)
        rest = (bundle.encode(), self._free_entry(), pointer.time, pointer.admin)
        names = "model, alias, sequence, digest, action, version, version_digest, bundle"
        marks = ", ".join("?" * 11)
        insert = f"insert into pointers ({names}, entry, time, principal) values ({marks})"
        self._run(insert, *place, *values, *rest)

    def put_freshness(self, sequence: int, envelope: bytes) -> None:
        """Put a statement of freshness in the place of the stored one."""
        names = "slot, sequence, envelope"
        self._run(
            f"insert or replace into freshness ({names}) values (1, ?, ?)", sequence, envelope
        )

    def swap_file(self, pick: int, other: int) -> None:
        """Have one artifact hold another's bytes, or a few that were changed."""
        paths = sorted(path for path in self._artifacts.glob("??/*") if path.is_file())
        path, source = paths[pick % len(paths)], paths[other % len(paths)]
        data = path.read_bytes()
        self._swapped.setdefault(path, data)
        _write(path, source.read_bytes() if source != path else data[:-1] + b"\x00")

    def _run(self, statement: str, *values: object) -> None:
        # The intruder cannot make changes that the schema itself forbids.
        with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):
            self._sql.execute(statement, values)

    def _columns_of(self, table: str) -> list[str]:
        rows = self._sql.execute(f"pragma table_info({table})").fetchall()
        return [f'"{row[1]}"' for row in rows]

    def _row(self, table: str, pick: int) -> int | None:
        rows = self._sql.execute(f"select rowid from {table} order by rowid desc").fetchall()
        return rows[pick % len(rows)][0] if rows else None

    def _keep(self, table: str) -> None:
        self._rows.setdefault(table, []).extend(self._sql.execute(f"select * from {table}"))

    def _free_entry(self) -> int:
        newest = self._sql.execute("select max(entry) from pointers").fetchone()[0]
        return (newest if isinstance(newest, int) else 0) + 1000


def _write(path: Path, data: bytes) -> None:
    # The store's files are read-only.
    path.unlink()
    path.write_bytes(data)
