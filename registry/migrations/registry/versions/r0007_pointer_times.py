"""An index of pointers by time, for those who ask what was live then."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAME = "ix_pointers_model_alias_time"


def upgrade() -> None:
    op.create_index(op.f(_NAME), "pointers", ["model", "alias", "time"])


def downgrade() -> None:
    """Loses nothing: the same is found without it, slowly."""
    op.drop_index(op.f(_NAME), "pointers")
