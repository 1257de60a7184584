"""The index key of the answer log, and the tags by which its entries name subjects.

Existing subjects get their tags when the gateway makes the index key
(`registry.answers.subject_keys`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "index_key",
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("secret", name=op.f("pk_index_key")),
    )
    op.add_column("subject_keys", sa.Column("tag", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_subject_keys_tag"), "subject_keys", ["tag"], unique=True)


def downgrade() -> None:
    """Loses the index key: answer logs that were made with it are not opened again."""
    op.drop_index(op.f("ix_subject_keys_tag"), "subject_keys")
    op.drop_column("subject_keys", "tag")
    op.drop_table("index_key")
