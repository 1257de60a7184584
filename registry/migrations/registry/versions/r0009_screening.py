"""Allowances that were used, and versions whose screening bound was withdrawn."""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    envelope = sa.Column("envelope", sa.LargeBinary(), nullable=False)
    _create("allowances", [_text("digest"), _text("model"), envelope], ["digest"])
    version = sa.ForeignKeyConstraint(
        ["model", "version"],
        ["versions.model", "versions.version"],
        name=op.f("fk_drifts_model_version"),
    )
    texts = [_text(name) for name in ("version_digest", "origin", "finding")]
    _create("drifts", [_text("model"), _count("version"), *texts], ["model", "version"], version)


def downgrade() -> None:
    """Goes back only where nothing was ever allowed and no bound withdrawn."""
    for table in ("drifts", "allowances"):
        refuse_to_drop(op.get_bind(), table)
        op.drop_table(table)


def _create(
    table: str, columns: list[sa.Column], key: list[str], *more: sa.ForeignKeyConstraint
) -> None:
    op.create_table(
        table,
        *columns,
        _count("entry"),
        _text("time"),
        _text("principal"),
        *more,
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
