"""API keys and their revocations."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    texts = ("key_id", "holder", "label", "expires", "digest")
    _create("api_keys", *(_text(name) for name in texts))
    reference = sa.ForeignKeyConstraint(
        ["key_id"], ["api_keys.key_id"], name=op.f("fk_api_key_revocations_key_id")
    )
    _create("api_key_revocations", _text("key_id"), _text("reason"), reference)


def downgrade() -> None:
    """Goes back only where no API key was ever issued."""
    refuse_to_drop(op.get_bind(), "api_key_revocations", "api_keys")
    op.drop_table("api_key_revocations")
    op.drop_table("api_keys")


def _create(table: str, *items: sa.Column | sa.Constraint) -> None:
    """Create a table whose rows each stem from one entry of the log."""
    entry = sa.ForeignKeyConstraint(
        ["entry"],
        ["log_leaves.index"],
        name=op.f(f"fk_{table}_entry"),
        deferrable=True,
        initially="DEFERRED",
    )
    op.create_table(
        table,
        *(item for item in items if isinstance(item, sa.Column)),
        sa.Column("entry", COUNT, autoincrement=False, nullable=False),
        _text("time"),
        _text("principal"),
        *(item for item in items if not isinstance(item, sa.Column)),
        entry,
        sa.UniqueConstraint("entry", name=op.f(f"uq_{table}_entry")),
        sa.PrimaryKeyConstraint("key_id", name=op.f(f"pk_{table}")),
    )


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
