"""Signature counters of passkeys."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "passkey_uses",
        _text("keyid"),
        sa.Column("counter", COUNT, autoincrement=False, nullable=False),
        _text("document"),
        sa.Column("entry", COUNT, autoincrement=False, nullable=False),
        _text("time"),
        _text("principal"),
        sa.ForeignKeyConstraint(
            ["entry"],
            ["log_leaves.index"],
            name=op.f("fk_passkey_uses_entry"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.UniqueConstraint("entry", name=op.f("uq_passkey_uses_entry")),
        sa.PrimaryKeyConstraint("keyid", "counter", name=op.f("pk_passkey_uses")),
    )


def downgrade() -> None:
    """Goes back only where no passkey with a counter was ever used."""
    refuse_to_drop(op.get_bind(), "passkey_uses")
    op.drop_table("passkey_uses")


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
