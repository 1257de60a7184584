"""Whether the tables hold the tree that an append wrote to them: a trigger may have undone it."""

from sqlalchemy import Connection

from registry.log.rows import TileRows, inconsistent, newest_checkpoint
from registry.log.tables import LogTables
from registry.log.tile_log import Appended


def check_stored(connection: Connection, tables: LogTables, appended: Appended) -> None:
    """Check, before the commit of an append, that its checkpoint is the newest and its tiles are
    those that it wrote. `TileLog.check_written` looks at the leaves.

    Raises Refusal(LOG_INCONSISTENT).
    """
    rows = TileRows(connection, tables)
    tiles = appended.frontier.tiles
    if newest_checkpoint(connection, tables) != (appended.size, appended.note) or any(
        rows.stored(tile.level, tile.index) != tile.hashes for tile in tiles
    ):
        raise inconsistent("a trigger changed the tree that was appended")
