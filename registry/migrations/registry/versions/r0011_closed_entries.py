"""How many entries each erasure and each pruning closed.

The columns are empty in rows of an earlier release, whose entries in the log do not have them.
"""

import sqlalchemy as sa
from alembic import op

from registry.storage.revisions import refuse_to_drop

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("erasures", sa.Column("entries", COUNT, nullable=True))
    op.add_column("erasures", sa.Column("size", COUNT, nullable=True))
    op.add_column("erasures", sa.Column("key_digest", sa.Text(), nullable=True))
    op.add_column("prunings", sa.Column("closed", COUNT, nullable=True))


def downgrade() -> None:
    """Goes back only where nothing was ever erased or pruned."""
    for table in ("erasures", "prunings"):
        refuse_to_drop(op.get_bind(), table)
    op.drop_column("prunings", "closed")
    for column in ("key_digest", "size", "entries"):
        op.drop_column("erasures", column)
