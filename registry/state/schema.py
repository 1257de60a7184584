"""The registry's tables (SQLAlchemy Core).

Every table of state is only ever added to, and each row stems from one entry of the registry's
log: `entry` is that entry's index, `time` and `principal` are the entry's own. So the rows and
the entries can be compared one by one (see `reconcile`). Only `freshness` is overwritten, and
`requests` is pruned.
"""

from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from registry.log.rows import CONSTRAINT_NAMES, Count, log_tables

METADATA = MetaData(naming_convention=CONSTRAINT_NAMES)
LOG = log_tables(METADATA)


def _state(name: str, *parts: Column | UniqueConstraint | ForeignKeyConstraint) -> Table:
    columns = [part for part in parts if isinstance(part, Column)]
    # Checked at the commit, for the entries of a transaction are appended last.
    entry = ForeignKey("log_leaves.index", deferrable=True, initially="DEFERRED")
    return Table(
        name,
        METADATA,
        *columns,
        Column("entry", Count, entry, nullable=False, unique=True),
        Column("time", Text, nullable=False),
        Column("principal", Text, nullable=False),
        *(part for part in parts if not isinstance(part, Column)),
    )


def _number(name: str, *, key: bool = False) -> Column:
    return Column(name, Count, primary_key=key, nullable=False, autoincrement=False)


def _text(name: str, *, key: bool = False, unique: bool = False) -> Column:
    return Column(name, Text, primary_key=key, nullable=False, unique=unique or None)


def _bytes(name: str) -> Column:
    return Column(name, LargeBinary, nullable=False)


POLICIES = _state("policies", _number("version", key=True), _text("digest"), _bytes("envelope"))

MODELS = _state("models", _text("model", key=True))

COMMITMENTS = _state(
    "commitments",
    _text("commitment", key=True),
    Column("model", Text, ForeignKey("models.model"), nullable=False, index=True),
)

VERSIONS = _state(
    "versions",
    Column("model", Text, ForeignKey("models.model"), primary_key=True),
    _number("version", key=True),
    _text("digest"),
    _bytes("manifest"),
    _bytes("signature"),
    # Digests of the evidence envelopes, in order, one a line.
    _text("evidence"),
    Column("commitment", Text, ForeignKey("commitments.commitment"), nullable=False, unique=True),
    UniqueConstraint("model", "digest"),
)

EVIDENCE = Table(
    "evidence",
    METADATA,
    _text("model", key=True),
    _number("version", key=True),
    _number("position", key=True),
    _text("kind"),
    # The digest of the payload, by which a proposal refers to it.
    _text("digest"),
    _text("maker"),
    _bytes("envelope"),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

PROPOSALS = _state(
    "proposals",
    _text("digest", key=True),
    Column("model", Text, nullable=False, index=True),
    _text("alias"),
    _number("version"),
    _bytes("envelope"),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

APPROVALS = _state(
    "approvals",
    _text("digest", key=True),
    Column("proposal", Text, ForeignKey("proposals.digest"), nullable=False),
    _bytes("envelope"),
    UniqueConstraint("proposal", "principal"),
)

# An approver's rejection ends its proposal, and so does its proposer's withdrawal.
REJECTIONS = _state(
    "rejections",
    _text("digest", key=True),
    Column("proposal", Text, ForeignKey("proposals.digest"), nullable=False, unique=True),
    _bytes("envelope"),
)

PROPOSAL_WITHDRAWALS = _state(
    "proposal_withdrawals",
    _text("digest", key=True),
    Column("proposal", Text, ForeignKey("proposals.digest"), nullable=False, unique=True),
    _bytes("envelope"),
)

COMMENTS = _state(
    "comments",
    _text("digest", key=True),
    Column("proposal", Text, ForeignKey("proposals.digest"), nullable=False, index=True),
    _bytes("envelope"),
)

POINTERS = _state(
    "pointers",
    _text("model", key=True),
    _text("alias", key=True),
    _number("sequence", key=True),
    _text("digest", unique=True),
    _text("action"),
    _number("version"),
    _text("version_digest"),
    _bytes("bundle"),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)
# Which versions were live at a time.
Index(None, POINTERS.c.model, POINTERS.c.alias, POINTERS.c.time)

REVOCATIONS = _state(
    "revocations",
    _text("model", key=True),
    _number("version", key=True),
    _text("version_digest"),
    _bytes("envelope"),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

ANCHORS = _state(
    "anchors",
    _text("origin", key=True),
    _number("size", key=True),
    _text("note"),
)

# How often callers whom nobody knew were refused, by reason, since the row before.
REFUSALS = _state(
    "refusals",
    _text("origin", key=True),
    _number("number", key=True),
    _text("counts"),
)

# The holder is a principal; `digest` is a keyed one, whose key the gateways have.
API_KEYS = _state(
    "api_keys",
    _text("key_id", key=True),
    _text("holder"),
    _text("label"),
    _text("expires"),
    _text("digest"),
)

API_KEY_REVOCATIONS = _state(
    "api_key_revocations",
    Column("key_id", Text, ForeignKey("api_keys.key_id"), primary_key=True),
    _text("reason"),
)

# The signed run counts of engines in processes of their own: each instance's statements, in order.
ENGINE_COUNTS = _state(
    "engine_counts",
    _text("instance", key=True),
    _number("sequence", key=True),
    _text("engine"),
    _bytes("envelope"),
)

# The files that a collector was about to remove from the artifact store: digests, one a line.
COLLECTIONS = _state(
    "collections",
    _number("number", key=True),
    _number("files"),
    _number("bytes"),
    _text("digests"),
)

# Subjects whose keys and openings were about to be removed: their names' slow hashes; how many of
# the answer log's entries were closed, and how many it had; by what the destroyed key is known.
ERASURES = _state(
    "erasures",
    _text("pseudonym", key=True),
    _text("origin"),
    Column("entries", Count),
    Column("size", Count),
    Column("key_digest", Text),
)

# How many of an answer log's first entries were about to be pruned to their hashes, and how many of
# these had no opening any more.
PRUNINGS = _state(
    "prunings",
    _text("origin", key=True),
    _number("size", key=True),
    Column("closed", Count),
)

# The allowances of second persons that were used: the statement's digest, and all of it.
ALLOWANCES = _state(
    "allowances",
    _text("digest", key=True),
    _text("model"),
    _bytes("envelope"),
)

# Versions whose screening bound no longer holds on traffic, each since one statement of a gateway.
DRIFTS = _state(
    "drifts",
    _text("model", key=True),
    _number("version", key=True),
    _text("version_digest"),
    _text("origin"),
    # Canonical JSON: how much evidence there is, of how many requests.
    _text("finding"),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

# Evidence that came after its version. `digest` is that of the payload; the principal made it.
ATTACHMENTS = _state(
    "attachments",
    _text("model", key=True),
    _number("version", key=True),
    _text("digest", key=True),
    _text("kind"),
    _bytes("envelope"),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

# Signature counters of passkeys, as each use showed them; see `check_counter`.
PASSKEY_USES = _state(
    "passkey_uses",
    _text("keyid", key=True),
    _number("counter", key=True),
    # Of the document that was signed.
    _text("document"),
)

# Requests that were carried out; `entry` is the first that each made. See `requests`.
REQUESTS = Table(
    "requests",
    METADATA,
    _text("principal", key=True),
    _text("request_id", key=True),
    _text("digest"),
    _number("entry"),
    Column("time", Text, nullable=False, index=True),
)

# One row at most: the newest statement of what is live and what is revoked.
FRESHNESS = Table(
    "freshness",
    METADATA,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    _number("sequence"),
    _bytes("envelope"),
)
