"""Finds edited rows in a log's tables.

Leaves and level 0 of the tiles say the same twice, and a signed checkpoint says which of them is
right: whichever leads to its root.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, select

from registry.log.rows import LogTables
from sealgate.reasons import SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.transparency import Checkpoint, merkle, open_checkpoint, origin_of
from sealgate.trust.transparency.merkle import HASH_SIZE
from sealgate.trust.transparency.tiles import WIDTH, Frontier


class Edit(Enum):
    """The kind of change somebody made to a row."""

    ALTERED = "altered"
    MISSING = "missing"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Difference:
    """One column of one row, or a whole row where `column` is empty.

    `log` and `database` are what each says, in text; what is large by its SHA-256.
    """

    table: str
    key: str
    edit: Edit
    column: str = ""
    log: str = ""
    database: str = ""


def key_text(key: tuple[object, ...]) -> str:
    """A primary key for people."""
    return "/".join(map(str, key))


@dataclass(frozen=True, slots=True)
class LogInspection:
    """The result of an inspection. `hashes` are the leaf hashes that lead to the newest signed
    root, or empty where nothing does; `size` is what that checkpoint states.
    """

    size: int
    hashes: Sequence[bytes]
    differences: tuple[Difference, ...]

    def is_told(self, index: int, leaf: bytes) -> bool:
        """Say whether the signed root covers a leaf as it is stored."""
        return index < len(self.hashes) and merkle.leaf_hash(leaf) == self.hashes[index]


def inspect_log(connection: Connection, tables: LogTables, vkey: str) -> LogInspection:
    """Examine the tables of the log whose checkpoints `vkey` signs (see `log_vkey`).

    1. The newest checkpoint that the key has signed says how many leaves there are, and their root.
    2. Leaf hashes are taken from the leaves or, if those do not lead there, from the tiles.
    3. Leaves, tiles, older checkpoints and the writer's row are compared with what follows.

    An older checkpoint that is gone does not show: how often one was signed, nothing says.
    """
    # 1.
    notes, found = _notes(connection, tables, vkey)
    if not notes:
        found.append(Difference("log_checkpoints", "", Edit.MISSING, log="a signed checkpoint"))
        return LogInspection(0, (), tuple(found))
    newest = notes[max(notes)]
    # 2.
    leaves = _leaf_hashes(connection, tables)
    from_leaves = [leaves.get(index, b"") for index in range(newest.size)]
    from_tiles = _tile_hashes(connection, tables, newest.size)
    hashes = next((h for h in (from_leaves, from_tiles) if _leads(h, newest)), None)
    if hashes is None:
        root = newest.root.hex()
        text = "neither the leaves nor the tiles lead to the signed root"
        found.append(Difference("log_leaves", "", Edit.ALTERED, "data", f"root {root}", text))
    # 3.
    told = hashes if hashes is not None else from_tiles
    found += _compare_leaves(leaves, told, newest.size)
    if hashes is not None:
        found += _compare_derived(connection, tables, hashes, notes)
    found += _compare_writer(connection, tables, origin_of(vkey))
    return LogInspection(newest.size, hashes or (), tuple(found))


def _notes(
    connection: Connection, tables: LogTables, vkey: str
) -> tuple[dict[int, Checkpoint], list[Difference]]:
    """The checkpoints that are signed and stand under their own size."""
    notes, found = {}, []
    query = select(tables.checkpoints).order_by(tables.checkpoints.c.size)
    for row in connection.execute(query).mappings():
        try:
            signed = open_checkpoint(row["note"], vkey)
        except SealgateError as refusal:
            told = refusal.reason.name
            found.append(_checkpoint(row["size"], "note", "a note signed by the log's key", told))
            continue
        if signed.size != row["size"]:
            found.append(_checkpoint(row["size"], "size", str(signed.size), str(row["size"])))
        notes[signed.size] = signed
    return notes, found


def _checkpoint(size: int, column: str, log: str, database: str) -> Difference:
    return Difference("log_checkpoints", str(size), Edit.ALTERED, column, log, database)


def _leaf_hashes(connection: Connection, tables: LogTables) -> dict[int, bytes]:
    query = select(tables.leaves).order_by(tables.leaves.c.index)
    rows = connection.execute(query.execution_options(yield_per=4096)).mappings()
    return {int(row["index"]): merkle.leaf_hash(bytes(row["data"])) for row in rows}


def _tile_hashes(connection: Connection, tables: LogTables, size: int) -> list[bytes]:
    """The leaf hashes as level 0 of the tiles has them; nothing where it has none."""
    query = select(tables.tiles).where(tables.tiles.c.level == 0)
    found: dict[int, bytes] = {}
    for row in connection.execute(query).mappings():
        data = bytes(row["hashes"])
        for place in range(len(data) // HASH_SIZE):
            item = data[place * HASH_SIZE : (place + 1) * HASH_SIZE]
            found[int(row["index"]) * WIDTH + place] = item
    return [found.get(index, b"") for index in range(size)]


def _leads(hashes: Sequence[bytes], checkpoint: Checkpoint) -> bool:
    return all(hashes) and merkle.root(hashes) == checkpoint.root


def _compare_leaves(
    leaves: Mapping[int, bytes], told: Sequence[bytes], size: int
) -> Iterator[Difference]:
    for index, wanted in enumerate(told):
        found = leaves.get(index)
        if found is None:
            yield Difference("log_leaves", str(index), Edit.MISSING, "", wanted.hex())
        elif wanted != found:
            yield Difference(
                "log_leaves", str(index), Edit.ALTERED, "data", wanted.hex(), found.hex()
            )
    beyond = sorted(leaves.keys() - range(size))
    if beyond:
        covers = f"a checkpoint that covers entry {beyond[-1]}"
        yield Difference("log_checkpoints", str(beyond[-1] + 1), Edit.MISSING, "", covers)
    for index in beyond:
        yield Difference("log_leaves", str(index), Edit.ADDED, "", "", leaves[index].hex())


def _compare_derived(
    connection: Connection,
    tables: LogTables,
    hashes: Sequence[bytes],
    notes: Mapping[int, Checkpoint],
) -> Iterator[Difference]:
    """Tiles and older checkpoints, made again from the leaf hashes."""
    frontier, made = Frontier.empty(), dict[tuple[int, int], bytes]()
    for size in [*sorted(notes), len(hashes)]:
        while frontier.size < size:
            end = min(size, frontier.size + WIDTH)
            frontier = frontier.append(hashes[frontier.size : end])
            made |= {(tile.level, tile.index): tile.hashes for tile in frontier.tiles}
        if size in notes and notes[size].root != frontier.root:
            root = notes[size].root.hex()
            yield _checkpoint(size, "note", f"root {frontier.root.hex()}", f"root {root}")
    stored = {
        (int(row["level"]), int(row["index"])): bytes(row["hashes"])
        for row in connection.execute(select(tables.tiles)).mappings()
    }
    for place, tile in made.items():
        key, there = key_text(place), stored.get(place)
        if there is None:
            yield Difference("log_tiles", key, Edit.MISSING)
        elif there != tile:
            wanted, found = _tile_text(tile), _tile_text(there)
            yield Difference("log_tiles", key, Edit.ALTERED, "hashes", wanted, found)
    for place in stored.keys() - made.keys():
        yield Difference("log_tiles", key_text(place), Edit.ADDED)


def _tile_text(hashes: bytes) -> str:
    return f"{len(hashes) // HASH_SIZE} hashes, {sha256(hashes)}"


def _compare_writer(connection: Connection, tables: LogTables, origin: str) -> Iterator[Difference]:
    origins = list(connection.scalars(select(tables.writer.c.origin)))
    if origin not in origins:
        yield Difference("log_writer", origin, Edit.MISSING)
    for other in origins:
        if other != origin:
            yield Difference("log_writer", other, Edit.ADDED)
