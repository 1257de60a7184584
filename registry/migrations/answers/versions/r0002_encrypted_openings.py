"""Encrypted openings and their index.

Plain openings stay in `log_openings` until the gateway that has the subjects' keys encrypts them
and drops that table (`registry.answers.upkeep`). A new log never has it.
"""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "log_sealed_openings",
        sa.Column("index", COUNT, autoincrement=False, nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_log_sealed_openings")),
    )
    op.create_table(
        "log_postings",
        sa.Column("segment", COUNT, autoincrement=False, nullable=False),
        sa.Column("tag", COUNT, autoincrement=False, nullable=False),
        sa.Column("first", COUNT, autoincrement=False, nullable=False),
        sa.Column("offsets", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("segment", "tag", "first", name=op.f("pk_log_postings")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_days",
        sa.Column("segment", COUNT, autoincrement=False, nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("segment", "day", name=op.f("pk_log_days")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_index_key",
        sa.Column("identity", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_log_index_key")),
    )
    if not _has_rows("log_checkpoints"):
        op.drop_table("log_openings")


def downgrade() -> None:
    """Goes back only while no opening is encrypted: the earlier release cannot read them."""
    connection = op.get_bind()
    refuse_to_drop(connection, "log_sealed_openings")
    for table in ("log_index_key", "log_days", "log_postings", "log_sealed_openings"):
        op.drop_table(table)
    if not sa.inspect(connection).has_table("log_openings"):
        op.create_table(
            "log_openings",
            sa.Column("index", COUNT, autoincrement=False, nullable=False),
            sa.Column("fields", sa.Text(), nullable=False),
            sa.Column("nonce", sa.LargeBinary(), nullable=False),
            sa.Column("subject", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("index", name=op.f("pk_log_openings")),
        )


def _has_rows(name: str) -> bool:
    found = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
    return op.get_bind().scalar(found) is not None
