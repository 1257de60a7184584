"""Files that collectors removed from the artifact store."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    entry = sa.ForeignKeyConstraint(
        ["entry"],
        ["log_leaves.index"],
        name=op.f("fk_collections_entry"),
        deferrable=True,
        initially="DEFERRED",
    )
    op.create_table(
        "collections",
        *(_count(name) for name in ("number", "files", "bytes")),
        _text("digests"),
        _count("entry"),
        _text("time"),
        _text("principal"),
        entry,
        sa.UniqueConstraint("entry", name=op.f("uq_collections_entry")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_collections")),
    )


def downgrade() -> None:
    """Goes back only where nothing was ever collected."""
    refuse_to_drop(op.get_bind(), "collections")
    op.drop_table("collections")


def _count(name: str) -> sa.Column:
    return sa.Column(name, COUNT, autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
