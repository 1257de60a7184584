"""The registry's first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

Item = sa.Column | sa.Constraint

# In the order in which they refer to each other.
_TABLES = (
    *("log_leaves", "log_tiles", "log_checkpoints", "log_writer"),
    *("policies", "anchors", "refusals", "models", "commitments"),
    *("versions", "evidence", "proposals", "approvals"),
    *("pointers", "revocations", "freshness"),
)


def upgrade() -> None:
    _create_log()
    _create_origins()
    _create_versions()
    _create_promotions()
    _create_moves()


def downgrade() -> None:
    """Loses the whole record: every version, approval and pointer, and the log that proves them."""
    for table in reversed(_TABLES):
        op.drop_table(table)


def _create_log() -> None:
    _create("log_leaves", ["index"], _count("index"), _bytes("data"))
    level = sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False)
    _create("log_tiles", ["level", "index"], level, _count("index"), _bytes("hashes"))
    _create("log_checkpoints", ["size"], _count("size"), _text("note"))
    _create("log_writer", ["origin"], _text("origin"), _count("epoch"))


def _create_origins() -> None:
    _create_state("policies", ["version"], _count("version"), _text("digest"), _bytes("envelope"))
    _create_state("anchors", ["origin", "size"], _text("origin"), _count("size"), _text("note"))
    _create_state(
        "refusals", ["origin", "number"], _text("origin"), _count("number"), _text("counts")
    )
    _create_state("models", ["model"], _text("model"))
    _create_state(
        "commitments",
        ["commitment"],
        _text("commitment"),
        _text("model"),
        _reference("commitments", ["model"], "models", ["model"]),
    )
    op.create_index(op.f("ix_commitments_model"), "commitments", ["model"])


def _create_versions() -> None:
    _create_state(
        "versions",
        ["model", "version"],
        _text("model"),
        _count("version"),
        _text("digest"),
        _bytes("manifest"),
        _bytes("signature"),
        _text("evidence"),
        _text("commitment"),
        _reference("versions", ["model"], "models", ["model"]),
        _reference("versions", ["commitment"], "commitments", ["commitment"]),
        _unique("versions", "commitment"),
        _unique("versions", "model", "digest"),
    )
    _create(
        "evidence",
        ["model", "version", "position"],
        _text("model"),
        _count("version"),
        _count("position"),
        _text("kind"),
        _text("digest"),
        _text("maker"),
        _bytes("envelope"),
        _version_of("evidence"),
    )


def _create_promotions() -> None:
    _create_state(
        "proposals",
        ["digest"],
        _text("digest"),
        _text("model"),
        _text("alias"),
        _count("version"),
        _bytes("envelope"),
        _version_of("proposals"),
    )
    op.create_index(op.f("ix_proposals_model"), "proposals", ["model"])
    _create_state(
        "approvals",
        ["digest"],
        _text("digest"),
        _text("proposal"),
        _bytes("envelope"),
        _reference("approvals", ["proposal"], "proposals", ["digest"]),
        _unique("approvals", "proposal", "principal"),
    )


def _create_moves() -> None:
    _create_state(
        "pointers",
        ["model", "alias", "sequence"],
        _text("model"),
        _text("alias"),
        _count("sequence"),
        _text("digest"),
        _text("action"),
        _count("version"),
        _text("version_digest"),
        _bytes("bundle"),
        _version_of("pointers"),
        _unique("pointers", "digest"),
    )
    _create_state(
        "revocations",
        ["model", "version"],
        _text("model"),
        _count("version"),
        _text("version_digest"),
        _bytes("envelope"),
        _version_of("revocations"),
    )
    slot = sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False)
    _create("freshness", ["slot"], slot, _count("sequence"), _bytes("envelope"))


def _create(table: str, key: list[str], *items: Item) -> None:
    name = op.f(f"pk_{table}")
    op.create_table(table, *items, sa.PrimaryKeyConstraint(*key, name=name))


def _create_state(table: str, key: list[str], *items: Item) -> None:
    """Create a table whose rows each stem from one entry of the log."""
    columns = [item for item in items if isinstance(item, sa.Column)]
    constraints = [item for item in items if not isinstance(item, sa.Column)]
    entry = sa.ForeignKeyConstraint(
        ["entry"],
        ["log_leaves.index"],
        name=op.f(f"fk_{table}_entry"),
        deferrable=True,
        initially="DEFERRED",
    )
    common = (_count("entry"), _text("time"), _text("principal"))
    _create(table, key, *columns, *common, *constraints, entry, _unique(table, "entry"))


def _count(name: str) -> sa.Column:
    return sa.Column(name, COUNT, autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _bytes(name: str) -> sa.Column:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _version_of(table: str) -> sa.ForeignKeyConstraint:
    return _reference(table, ["model", "version"], "versions", ["model", "version"])


def _reference(
    table: str, columns: list[str], other: str, keys: list[str]
) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{'_'.join(columns)}")
    return sa.ForeignKeyConstraint(columns, [f"{other}.{key}" for key in keys], name=name)
