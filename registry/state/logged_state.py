"""The state that gateways act on, read from the registry's log and kept in memory.

Someone with the database can edit its tables, but not the log without the log's key. So API keys,
used allowances, withdrawn bounds, anchors, policies, pointers, revocations and rejections are read
from the log. Each entry is read once and kept:

1. The newest checkpoint is signed by the log's key and is not smaller than the one read before.
2. The entries up to it, added to those read before, lead to the root that it states.
3. Only then do the new entries count.

So an edited, deleted or forged row changes nothing here. A log that was cut short, rewritten or
replaced by an older one is refused (LOG_INCONSISTENT).
"""

import json
import re
import sys
import threading
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from registry.log import rows
from registry.log.rows import inconsistent, newest_checkpoint
from registry.state import schema
from registry.state.replay import ReplayedRow, replay_entry
from sealgate.reasons import SealgateError
from sealgate.trust.transparency import Checkpoint, open_checkpoint
from sealgate.trust.transparency.merkle import leaf_hash
from sealgate.trust.transparency.tiles import Frontier

Columns = Mapping[str, Any]
T = TypeVar("T")

NO_POLICY = (0, "")


@dataclass(frozen=True, slots=True)
class LoggedApiKey:
    """An API key as its entry describes it; `digest` is the SHA-256 of its keyed digest."""

    key_id: str
    holder: str
    label: str
    expires: str
    digest: str


@dataclass(frozen=True, slots=True)
class LoggedKeyRevocation:
    """When, by whom and why an API key was revoked."""

    time: str
    principal: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoggedAnchor:
    """A checkpoint of an answer log, which entry `entry` anchors."""

    size: int
    note: str
    entry: int


@dataclass(frozen=True, slots=True)
class LoggedErasure:
    """An erasure from the answer log `origin`. Fields that early releases lacked are None."""

    origin: str
    entries: int | None
    size: int | None
    key_digest: str | None


@dataclass(frozen=True, slots=True, order=True)
class LoggedPruning:
    """The number of pruned entries of an answer log, and of those that were closed before."""

    size: int = 0
    closed: int = 0


@dataclass(slots=True)
class LoggedFacts:
    """The facts of a range of entries. The mappings only grow; what is in them is immutable."""

    api_keys: dict[str, LoggedApiKey] = field(default_factory=dict)
    key_revocations: dict[str, LoggedKeyRevocation] = field(default_factory=dict)
    allowances: set[str] = field(default_factory=set)
    """Digests of the allowances that were used."""
    withdrawn: dict[str, str] = field(default_factory=dict)
    """When the bound of a version was withdrawn, by the version's digest."""
    anchors: dict[str, LoggedAnchor] = field(default_factory=dict)
    """The newest anchor of each answer log, by origin."""
    policy: tuple[int, str] = NO_POLICY
    """Version and digest of the newest policy."""
    pointers: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Sequence and digest of the newest pointer of each `model/alias`."""
    moves: dict[str, int] = field(default_factory=dict)
    """The entry of the newest pointer of each `model/alias`."""
    proposals: dict[str, str] = field(default_factory=dict)
    """The `model/alias` of each proposal, by digest."""
    revoked: set[str] = field(default_factory=set)
    """The digests that revocations named."""
    rejected: dict[str, int] = field(default_factory=dict)
    """The entry that rejected or withdrew a proposal, by the proposal's digest."""
    passkey_counters: dict[str, int] = field(default_factory=dict)
    """The highest signature counter that each passkey has shown, by key id."""
    engine_counts: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Sequence and envelope digest of the newest counts of each engine instance."""
    erasures: dict[str, LoggedErasure] = field(default_factory=dict)
    """By pseudonym, in the order of the log."""
    prunings: dict[str, LoggedPruning] = field(default_factory=dict)
    """The newest pruning of each answer log, by origin."""

    def tell(self, index: int, leaf: bytes) -> None:
        """Take in what entry `index` says, if it says anything of this."""
        if not _EVENT.search(leaf):
            return
        told = replay_entry(index, json.loads(leaf))
        if told is not None:
            self.take(told)

    def take(self, told: ReplayedRow) -> None:
        """Take in a row as its entry describes it, if it says anything of this."""
        taker = _TAKERS.get(told.table.name)
        if taker is not None:
            taker(self, told.columns)

    def add(self, later: "LoggedFacts") -> None:
        """Add the facts of later entries."""
        # Revocations first: no reader sees a key that was revoked without its revocation.
        _add_new(self.key_revocations, later.key_revocations)
        _add_new(self.api_keys, later.api_keys)
        _add_new(self.withdrawn, later.withdrawn)
        _add_new(self.erasures, later.erasures)
        _add_new(self.proposals, later.proposals)
        _add_new(self.rejected, later.rejected)
        self.moves |= later.moves
        self.allowances |= later.allowances
        self.revoked |= later.revoked
        self.policy = max(self.policy, later.policy)
        for origin, anchor in later.anchors.items():
            self.add_anchor(origin, anchor)
        for place, pointer in later.pointers.items():
            _add_newest(self.pointers, place, pointer)
        for keyid, counter in later.passkey_counters.items():
            self.passkey_counters[keyid] = max(counter, self.passkey_counters.get(keyid, 0))
        for instance, counts in later.engine_counts.items():
            _add_newest(self.engine_counts, instance, counts)
        for origin, pruning in later.prunings.items():
            self.add_pruning(origin, pruning)

    def add_pruning(self, origin: str, pruning: LoggedPruning) -> None:
        """Keep a pruning, if it is the newest of its log."""
        self.prunings[origin] = max(pruning, self.prunings.get(origin, LoggedPruning()))

    def add_anchor(self, origin: str, anchor: LoggedAnchor) -> None:
        """Keep an anchor, if it is the newest of its log."""
        before = self.anchors.get(origin)
        if before is None or before.size < anchor.size:
            self.anchors[origin] = anchor


def unmoved_rejections(*parts: LoggedFacts) -> set[str]:
    """The rejected and withdrawn proposals whose alias has not moved since; `parts` of one log.

    Where it has moved, no pointer that rests on the proposal can be the alias's newest: its
    sequence is taken, and nobody returns to a proposal that the log says has ended.
    """
    moves = ChainMap(*(dict(part.moves) for part in reversed(parts)))
    places = ChainMap(*(part.proposals for part in parts))
    return {
        proposal
        for part in parts
        for proposal, entry in list(part.rejected.items())
        if moves.get(places.get(proposal, ""), -1) < entry
    }


class LoggedState:
    """Follows a log, and says what it tells up to the checkpoint that was verified last."""

    def __init__(self, vkey: Callable[[], str]) -> None:
        """`vkey` says which key signs the log's checkpoints now."""
        self.lock = threading.Lock()
        """Held by whoever calls `advance`, since before a transaction that only reads."""
        self.facts = LoggedFacts()
        self._vkey = vkey
        self._frontier = Frontier.empty()
        self._verified: tuple[str, Checkpoint] | None = None

    @property
    def size(self) -> int:
        """The number of entries that were read."""
        return self._frontier.size

    def advance(self, connection: Connection, seen: Checkpoint) -> LoggedFacts:
        """Read what was appended since the last time; the steps are the module's.

        `seen` is the newest checkpoint that this process knows. Raises
        SealgateError(LOG_INCONSISTENT), and then nothing has changed.
        """
        # 1.
        newest = newest_checkpoint(connection, schema.LOG)
        if newest is None or newest.size < max(self.size, seen.size):
            raise inconsistent("the log is shorter than it was")
        signed = self._open(newest.note)
        # 2.
        frontier, told = self._frontier, LoggedFacts()
        for block in rows.leaves(connection, schema.LOG, frontier.size, signed.size):
            for index, leaf in enumerate(block, frontier.size):
                told.tell(index, leaf)
            frontier = frontier.append([leaf_hash(leaf) for leaf in block])
        for known in (signed, seen):
            if known.size == frontier.size and known.root != frontier.root:
                raise inconsistent(f"the {known.size} entries lead to another root")
        # 3.
        if frontier.size > self.size:
            self.facts.add(told)
        self._frontier, self._verified = frontier, (newest.note, signed)
        return self.facts

    def _open(self, note: str) -> Checkpoint:
        if self._verified is not None and self._verified[0] == note:
            return self._verified[1]
        try:
            return open_checkpoint(note, self._vkey())
        except SealgateError as error:
            raise inconsistent("the newest checkpoint is not signed by this log's key") from error


def _add_new(mine: dict[str, T], theirs: Mapping[str, T]) -> None:
    """Add facts; the first record wins, so nothing that ended begins again."""
    for name, value in theirs.items():
        mine.setdefault(name, value)


def _add_newest(mine: dict[str, tuple[int, str]], name: str, value: tuple[int, str]) -> None:
    mine[name] = max(value, mine.get(name, (0, "")))


def _api_key(facts: LoggedFacts, columns: Columns) -> None:
    names = ("key_id", "holder", "label", "expires")
    key = LoggedApiKey(**{n: columns[n] for n in names}, digest=columns["digest"].digest)
    facts.api_keys.setdefault(key.key_id, key)


def _key_revocation(facts: LoggedFacts, columns: Columns) -> None:
    revocation = LoggedKeyRevocation(columns["time"], columns["principal"], columns["reason"])
    facts.key_revocations.setdefault(columns["key_id"], revocation)


def _anchor(facts: LoggedFacts, columns: Columns) -> None:
    anchor = LoggedAnchor(columns["size"], columns["note"], columns["entry"])
    facts.add_anchor(columns["origin"], anchor)


def _policy(facts: LoggedFacts, columns: Columns) -> None:
    facts.policy = max(facts.policy, (columns["version"], columns["digest"]))


def _pointer(facts: LoggedFacts, columns: Columns) -> None:
    place = f"{columns['model']}/{columns['alias']}"
    _add_newest(facts.pointers, place, (columns["sequence"], columns["digest"]))
    facts.moves[place] = columns["entry"]


def _proposal(facts: LoggedFacts, columns: Columns) -> None:
    place = sys.intern(f"{columns['model']}/{columns['alias']}")
    facts.proposals.setdefault(columns["digest"], place)


def _engine_counts(facts: LoggedFacts, columns: Columns) -> None:
    newest = (columns["sequence"], columns["envelope"].digest)
    _add_newest(facts.engine_counts, columns["instance"], newest)


def _allowance(facts: LoggedFacts, columns: Columns) -> None:
    facts.allowances.add(columns["digest"])


def _drift(facts: LoggedFacts, columns: Columns) -> None:
    facts.withdrawn.setdefault(columns["version_digest"], columns["time"])


def _revocation(facts: LoggedFacts, columns: Columns) -> None:
    facts.revoked.add(columns["version_digest"])


def _rejection(facts: LoggedFacts, columns: Columns) -> None:
    facts.rejected.setdefault(columns["proposal"], columns["entry"])


def _passkey_use(facts: LoggedFacts, columns: Columns) -> None:
    keyid, counter = columns["keyid"], columns["counter"]
    facts.passkey_counters[keyid] = max(counter, facts.passkey_counters.get(keyid, 0))


def _erasure(facts: LoggedFacts, columns: Columns) -> None:
    names = ("origin", "entries", "size", "key_digest")
    erasure = LoggedErasure(**{name: columns[name] for name in names})
    facts.erasures.setdefault(columns["pseudonym"], erasure)


def _pruning(facts: LoggedFacts, columns: Columns) -> None:
    pruning = LoggedPruning(columns["size"], columns["closed"] or 0)
    facts.add_pruning(columns["origin"], pruning)


_TAKERS: Mapping[str, Callable[[LoggedFacts, Columns], None]] = {
    schema.API_KEYS.name: _api_key,
    schema.API_KEY_REVOCATIONS.name: _key_revocation,
    schema.ALLOWANCES.name: _allowance,
    schema.DRIFTS.name: _drift,
    schema.ANCHORS.name: _anchor,
    schema.POLICIES.name: _policy,
    schema.POINTERS.name: _pointer,
    schema.PROPOSALS.name: _proposal,
    schema.REVOCATIONS.name: _revocation,
    schema.REJECTIONS.name: _rejection,
    schema.PROPOSAL_WITHDRAWALS.name: _rejection,
    schema.ENGINE_COUNTS.name: _engine_counts,
    schema.PASSKEY_USES.name: _passkey_use,
    schema.ERASURES.name: _erasure,
    schema.PRUNINGS.name: _pruning,
}
# Most entries are of other kinds. Within a string quotes are escaped, so this finds each of them,
# and decoding says whether it is the entry's own event.
_EVENT = re.compile(
    rb'"event":"(?:api-key\.created|api-key\.revoked|request\.allowed|screening\.drifted|'
    rb"answers\.anchored|policy\.accepted|pointer\.moved|version\.revoked|engine\.counted|"
    rb"subject\.erased|log\.pruned|proposal\.created|proposal\.rejected|proposal\.withdrawn|passkey\.used)\""
)
