"""Rejections and withdrawals of proposals, and comments on them."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table in ("rejections", "proposal_withdrawals"):
        # A proposal ends once.
        once = sa.UniqueConstraint("proposal", name=op.f(f"uq_{table}_proposal"))
        op.create_table(table, *_columns(table), once)
    op.create_table("comments", *_columns("comments"))
    op.create_index(op.f("ix_comments_proposal"), "comments", ["proposal"])


def downgrade() -> None:
    """Goes back only where no proposal was ever rejected, withdrawn or commented on."""
    for table in ("rejections", "proposal_withdrawals", "comments"):
        refuse_to_drop(op.get_bind(), table)
    op.drop_index(op.f("ix_comments_proposal"), "comments")
    for table in ("comments", "proposal_withdrawals", "rejections"):
        op.drop_table(table)


def _columns(table: str) -> list[sa.Column | sa.Constraint]:
    return [
        _text("digest"),
        _text("proposal"),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("entry", COUNT, autoincrement=False, nullable=False),
        _text("time"),
        _text("principal"),
        sa.ForeignKeyConstraint(
            ["proposal"], ["proposals.digest"], name=op.f(f"fk_{table}_proposal")
        ),
        sa.ForeignKeyConstraint(
            ["entry"],
            ["log_leaves.index"],
            name=op.f(f"fk_{table}_entry"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.UniqueConstraint("entry", name=op.f(f"uq_{table}_entry")),
        sa.PrimaryKeyConstraint("digest", name=op.f(f"pk_{table}")),
    ]


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
