"""Requests that were carried out, so that none is carried out twice."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "requests",
        _text("principal"),
        _text("request_id"),
        _text("digest"),
        sa.Column("entry", COUNT, nullable=False),
        _text("time"),
        sa.PrimaryKeyConstraint("principal", "request_id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_time"), "requests", ["time"])


def downgrade() -> None:
    """Loses which requests were carried out: a repeated one is carried out or refused anew."""
    op.drop_table("requests")


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
