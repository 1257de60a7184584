"""Erasures of subjects and prunings of answer logs, which are told before they happen."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create("erasures", [_text("pseudonym"), _text("origin")], ["pseudonym"])
    _create("prunings", [_text("origin"), _count("size")], ["origin", "size"])


def downgrade() -> None:
    """Goes back only where nothing was ever erased or pruned."""
    for table in ("prunings", "erasures"):
        refuse_to_drop(op.get_bind(), table)
        op.drop_table(table)


def _create(table: str, columns: list[sa.Column], key: list[str]) -> None:
    op.create_table(
        table,
        *columns,
        _count("entry"),
        _text("time"),
        _text("principal"),
        sa.ForeignKeyConstraint(
            ["entry"],
            ["log_leaves.index"],
            name=op.f(f"fk_{table}_entry"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.UniqueConstraint("entry", name=op.f(f"uq_{table}_entry")),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
    )


def _count(name: str) -> sa.Column:
    return sa.Column(name, COUNT, autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)
