"""Removes old entries of an answer log but keeps every hash of its tree.

So all checkpoints, proofs of inclusion and of consistency are as before. It can end anywhere: what
is left is a log whose first tiles are pruned, and whoever begins again goes on from there.
"""

from sqlalchemy import Connection, delete, select

from registry.answers.index import remove_before
from registry.answers.outcomes import forget_before
from registry.answers.plain_openings import has_plain_openings
from registry.log import rows
from registry.log.rows import ANSWERS, OPENINGS, PLAIN_OPENINGS, POSTINGS, TileRows, inconsistent
from registry.storage.database import Database
from sealgate.trust.transparency.merkle import leaf_hash
from sealgate.trust.transparency.tiles import WIDTH

# The gateway's own answers wait while a few tiles are removed.
_TILES_AT_ONCE = 16


def prune_leaves(database: Database, size: int) -> int:
    """Remove leaves and openings of the first `size` entries; return how many leaves went.

    `size` is that of full tiles, and the log has more entries. A tile's leaves go only if its
    hashes are theirs: what was altered stays for whoever looks into it. What went is removed from
    the database's files too. Raises SealgateError: LOG_INCONSISTENT, RECORD_FAILED,
    REGISTRY_UNAVAILABLE, ERASURE_UNFINISHED; ValueError for another size.
    """
    if size % WIDTH or size < 0:
        raise ValueError("only full tiles are pruned")
    removed = _remove(database, size)
    # Also where nothing was left to remove: an earlier attempt may have failed here.
    database.purge(OPENINGS, POSTINGS, ANSWERS.leaves)
    return removed


def _remove(database: Database, size: int) -> int:
    removed = 0
    while True:
        with database.writing() as connection:
            if size >= max(1, rows.next_index(connection, ANSWERS)):
                raise ValueError("the newest entries stay")
            first = rows.first_index(connection, ANSWERS)
            if first >= size:
                # Those of entries whose leaves went before a crash are gone too by now.
                return removed
            last = min(size, first // WIDTH * WIDTH + _TILES_AT_ONCE * WIDTH)
            _check(connection, first, last)
            tables = [ANSWERS.leaves, OPENINGS]
            if has_plain_openings(connection):
                tables.append(PLAIN_OPENINGS)
            for table in tables:
                connection.execute(delete(table).where(table.c.index < last))
            remove_before(connection, last)
            forget_before(connection, last)
            _check_removed(connection, last)
            connection.commit()
        removed += last - first


def _check_removed(connection: Connection, last: int) -> None:
    """Check before the commit that no trigger has kept or put back what was deleted."""
    rows.run_deferred_triggers(connection)
    for table in (ANSWERS.leaves, OPENINGS):
        kept = select(table.c.index).where(table.c.index < last).limit(1)
        if connection.scalar(kept) is not None:
            raise inconsistent(f"a trigger kept entries before {last}")


def _check(connection: Connection, first: int, last: int) -> None:
    """Compare leaves with the hashes that stay."""
    tiles = TileRows(connection, ANSWERS)
    if first % WIDTH:
        raise inconsistent(f"entries before {first} are missing, and no full tiles")
    leaves = [leaf for block in rows.leaves(connection, ANSWERS, first, last) for leaf in block]
    for at in range(0, len(leaves), WIDTH):
        index = (first + at) // WIDTH
        if b"".join(map(leaf_hash, leaves[at : at + WIDTH])) != tiles.read(0, index, WIDTH):
            raise inconsistent(f"tile 0/{index} holds other hashes than those of its entries")
