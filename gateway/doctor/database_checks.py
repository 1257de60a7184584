"""Database checks of `sealgate doctor`. Nothing is changed, nor fenced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from gateway.config.document import GatewayConfig
from gateway.recording import LogMemory
from registry.audit import database_check, newest_anchor, pruned_of, reconcile
from registry.log.rows import ANSWERS, LogTables
from registry.log.verification import VerifiedLog, verify_log
from registry.policy import PinnedRoot, PolicyBook
from registry.state.schema import LOG
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.keys import load_public_key
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import Checkpoint

OK, WARNING, FAILED = "ok", "warning", "failed"
_MIB = 1 << 20
_LEAST_FREE = 1024 * _MIB
_LARGE_WAL = 256 * _MIB

# Called with what is read, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class CheckedDatabase:
    """The result of one check of one database: `state` is OK, WARNING or FAILED."""

    database: str
    check: str
    state: str
    text: str


class DatabaseChecks:
    """The checks of a configuration's databases; with `quick`, without what reads them whole."""

    def __init__(self, config: GatewayConfig, quick: bool, progress: Progress) -> None:
        self._config = config
        self._quick = quick
        self._progress = progress
        self._policy: Policy | None = None
        self._anchor: Checkpoint | None = None
        self._pruned = 0
        self._found: list[CheckedDatabase] = []

    def run(self) -> list[CheckedDatabase]:
        """Check each database:

        1. It opens, and its tables are of this release's revision.
        2. SQLite finds no damage in its pages (`PRAGMA quick_check`).
        3. Of a log: the newest checkpoint is signed and covers all leaves, and it extends what this
           gateway remembers and, of an answer log, the newest anchor.
        4. Of a log, as a whole: entries, tiles, checkpoints, and the registry's rows agree.
        5. There is room on its disk, and its write-ahead log is not large.
        """
        answers = self._config.answers
        self._look("registry", self._config.registry.database, self._look_at_registry)
        self._look("answers", answers.database, self._look_at_answers)
        self._look("subjects", answers.subjects, lambda connection: None)
        return self._found

    def _look(self, name: str, place: Path | str, look: Callable[[Connection], None]) -> None:
        """Steps 1, 2 and 5; `look` gets the database, if it can be read."""
        file = database_check.file_of(place)
        if file is not None and not file.exists() and not self._is_remembered(name):
            self._add(name, "file", OK, "not begun yet")
            return
        with (
            self._failing(name, "open"),
            database_check.opened(place, name) as database,
            database.reading() as connection,
        ):
            self._look_at_tables(name, connection)
            look(connection)
        if file is not None and file.exists():
            self._look_at_disk(name, file)

    def _look_at_tables(self, name: str, connection: Connection) -> None:
        has, newest = database_check.revision(connection, name)
        state = OK if has == newest else WARNING
        text = has if has == newest else f"{has or 'none'}; the next start brings it to {newest}"
        self._add(name, "revision", state, text)
        damage = database_check.damage(connection)
        self._add(name, "pages", FAILED if damage else OK, "; ".join(damage) or "not damaged")

    def _look_at_disk(self, name: str, file: Path) -> None:
        sizes = database_check.sizes(file)
        full = sizes.free < _LEAST_FREE
        text = f"{sizes.file // _MIB} MiB, {sizes.free // _MIB} MiB free on its disk"
        self._add(name, "disk", WARNING if full else OK, text)
        large = sizes.wal > _LARGE_WAL
        hint = "; a reader that never ends keeps it large" if large else ""
        self._add(
            name, "write-ahead log", WARNING if large else OK, f"{sizes.wal // _MIB} MiB{hint}"
        )

    def _look_at_registry(self, connection: Connection) -> None:
        trust = self._config.trust
        keys = [load_public_key(path) for path in trust.root_keys]
        root = PinnedRoot({key.keyid: key for key in keys}, trust.threshold)
        with self._failing("registry", "policies"):
            chain = PolicyBook(root).read(connection)
            self._policy = chain.newest
            self._add("registry", "policies", OK, f"version {self._policy.version} is the newest")
        if self._policy is None:
            return
        vkey = self._policy.log_key(self._config.registry.origin)
        self._look_at_log("registry", connection, LOG, vkey)
        origin = self._config.answers.origin
        with self._failing("answers", "anchors"):
            self._anchor = newest_anchor(connection, origin, self._policy)
            self._pruned = pruned_of(connection, origin)
        told = self._told("registry")
        self._look_at_whole("registry", lambda: reconcile(connection, vkey, told))

    def _look_at_answers(self, connection: Connection) -> None:
        if self._policy is None:
            self._add("answers", "log", FAILED, "no policy says what its key is")
            return
        with self._failing("answers", "log"):
            vkey = self._policy.log_key(self._config.answers.origin)
            self._look_at_log("answers", connection, ANSWERS, vkey)
            told, pruned = self._told("answers"), self._pruned
            self._look_at_whole(
                "answers",
                lambda: verify_log(connection, ANSWERS, vkey, progress=told, pruned=pruned),
            )

    def _look_at_log(self, name: str, connection: Connection, tables: LogTables, vkey: str) -> None:
        with self._failing(name, "log"):
            anchor = self._anchor if name == "answers" else None
            seen = LogMemory.beside(self._config.trust.seen, name, vkey).checkpoint
            known = [checkpoint for checkpoint in (anchor, seen) if checkpoint is not None]
            size = database_check.check_log(connection, tables, vkey, known)
            sizes = ", ".join(str(checkpoint.size) for checkpoint in known) or "none"
            self._add(name, "log", OK, f"{size} entries; extends what is known of: {sizes}")

    def _is_remembered(self, name: str) -> bool:
        """Whether a file shows that a log was begun."""
        return LogMemory.beside(self._config.trust.seen, name, "").path.exists()

    def _look_at_whole(self, name: str, verify: Callable[[], VerifiedLog]) -> None:
        if self._quick:
            self._add(name, "whole log", WARNING, "not looked at: --quick")
            return
        with self._failing(name, "whole log"):
            verified = verify()
            text = f"{verified.size} entries, tiles and {verified.checkpoints} checkpoints agree"
            self._add(name, "whole log", OK, text)

    @contextmanager
    def _failing(self, name: str, check: str) -> Iterator[None]:
        try:
            yield
        except SealgateError as refusal:
            self._add(name, check, FAILED, f"{refusal.reason.name}: {refusal.detail}")
        except ConfigError as error:
            self._add(name, check, FAILED, str(error))

    def _told(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(name, done, total)

    def _add(self, *values: str) -> None:
        self._found.append(CheckedDatabase(*values))
