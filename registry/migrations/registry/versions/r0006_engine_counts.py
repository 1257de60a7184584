"""Counts that engines in processes of their own report."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    entry = sa.ForeignKeyConstraint(
        ["entry"],
        ["log_leaves.index"],
        name=op.f("fk_engine_counts_entry"),
        deferrable=True,
        initially="DEFERRED",
    )
    op.create_table(
        "engine_counts",
        _text("instance"),
        _count("sequence"),
        _text("engine"),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        _count("entry"),
        _text("time"),
        _text("principal"),
        entry,
        sa.UniqueConstraint("entry", name=op.f("uq_engine_counts_entry")),
        sa.PrimaryKeyConstraint("instance", "sequence", name=op.f("pk_engine_counts")),
    )


def downgrade() -> None:
    """Goes back only where no engine's counts were ever kept."""
    refuse_to_drop(op.get_bind(), "engine_counts")
    op.drop_table("engine_counts")


def _count(name: str) -> sa.Column:
    return sa.Column(name, COUNT, autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
