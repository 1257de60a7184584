"""Evidence that came after its version."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "attachments",
        _text("model"),
        _count("version"),
        _text("digest"),
        _text("kind"),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        _count("entry"),
        _text("time"),
        _text("principal"),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["versions.model", "versions.version"],
            name=op.f("fk_attachments_model_version"),
        ),
        sa.ForeignKeyConstraint(
            ["entry"],
            ["log_leaves.index"],
            name=op.f("fk_attachments_entry"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.UniqueConstraint("entry", name=op.f("uq_attachments_entry")),
        sa.PrimaryKeyConstraint("model", "version", "digest", name=op.f("pk_attachments")),
    )


def downgrade() -> None:
    """Goes back only where nothing was ever attached."""
    refuse_to_drop(op.get_bind(), "attachments")
    op.drop_table("attachments")


def _count(name: str) -> sa.Column:
    return sa.Column(name, COUNT, autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
