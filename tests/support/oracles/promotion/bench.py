"""The parts that all runs of a process share: a database file, an artifact folder, two engines'
memories.
"""

import atexit
import functools
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from gateway.sync import RegistrySnapshot
from registry.state.records import LivePointerRecord, Snapshot
from tests.support.oracles.promotion.alterations import Alterations
from tests.support.oracles.promotion.observed import ObservedEngine
from tests.support.oracles.promotion.organisation import Organisation
from tests.support.oracles.promotion.prepared import prepare

Pointers = tuple[tuple[str, int, str], ...]
_MEMORY = Path("/dev/shm")  # noqa: S108


class LyingStore:
    """An artifact store that hands out whatever its files hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, digest: str, _size: int) -> bytes:
        name = digest.removeprefix("sha256:")
        return (self._folder / name[:2] / name[2:]).read_bytes()


class Bench:
    """An organisation, an intruder's means, and two engines; `events` counts over all runs."""

    def __init__(self, folder: Path) -> None:
        self.events: Counter[str] = Counter()
        self.organisation = Organisation(folder)
        self.states = prepare(self.organisation)
        self.alterations = Alterations(self.organisation.sql, folder / "artifacts")
        self.lying = LyingStore(folder / "artifacts")
        self.engines = [
            ObservedEngine(folder / f"seen-{number}.json", self.organisation, self.events)
            for number in range(2)
        ]

    def begin(self, number: int) -> None:
        """Put everything back to one of the prepared states."""
        state = self.states[number]
        state.database.backup(self.organisation.sql)
        self.organisation.begin(state.now, state.documents.copy(), state.rulebook)
        self.alterations.forget()
        for engine in self.engines:
            engine.forget()

    def registry_shows(self) -> RegistrySnapshot:
        """The snapshot that the registry hands to a gateway's engine. Raises SealgateError."""
        registry = self.organisation.registry
        return RegistrySnapshot.of(registry.snapshot(), registry.artifacts)

    def database_shows(self) -> RegistrySnapshot:
        """The tables' content, past all checks of the registry: its process belongs to the
        intruder. Raises SealgateError, and anything else where the tables hold no such thing.
        """
        sql = self.organisation.sql
        policies = sql.execute("select envelope from policies order by version")
        live = sql.execute(
            "select p.model, p.alias, p.version, p.bundle, v.manifest, v.signature"
            " from pointers p join versions v on v.model = p.model and v.version = p.version"
            " where p.sequence = (select max(q.sequence) from pointers q"
            " where q.model = p.model and q.alias = p.alias)"
        )
        freshness = sql.execute("select envelope from freshness").fetchone()
        snapshot = Snapshot(
            tuple(row[0] for row in policies),
            tuple(LivePointerRecord(*row) for row in live),
            freshness[0],
        )
        return RegistrySnapshot.of(snapshot, self.lying)

    def newest_state(self) -> tuple[Pointers, tuple[str, ...], int] | None:
        """The newest pointers and the revocations in the tables, and the stored statement's number;
        None where they hold nothing of that form.
        """
        sql = self.organisation.sql
        query = "select model, alias, max(sequence), digest from pointers group by model, alias"
        pointers = [(f"{row[0]}/{row[1]}", row[2], row[3]) for row in sql.execute(query)]
        revoked = {row[0] for row in sql.execute("select version_digest from revocations")}
        number = sql.execute("select max(sequence) from freshness").fetchone()[0]
        whole = [*(row[1] for row in pointers), number]
        if not all(isinstance(item, int) for item in whole) or not all(
            isinstance(item, str) for item in (*revoked, *(row[2] for row in pointers))
        ):
            return None
        return tuple(sorted(pointers)), tuple(sorted(revoked)), number


@functools.cache
def bench() -> Bench:
    """The bench of this process, in memory where there is such a folder."""
    place = _MEMORY if _MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="sealgate-promotion-", dir=place))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Bench(folder)
