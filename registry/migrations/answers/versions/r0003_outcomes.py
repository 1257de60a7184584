"""The entry that reports the outcome of an answer's entry."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "log_outcomes",
        sa.Column("entry", COUNT, autoincrement=False, nullable=False),
        sa.Column("report", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_log_outcomes")),
    )


def downgrade() -> None:
    refuse_to_drop(op.get_bind(), "log_outcomes")
    op.drop_table("log_outcomes")
