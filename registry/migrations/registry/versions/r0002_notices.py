"""On PostgreSQL, tell listeners of every change of state: each signs one new checkpoint."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(
        """
        CREATE FUNCTION tell_of_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('sealgate_registry', '');
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER tell_of_change AFTER INSERT ON log_checkpoints "
        "FOR EACH STATEMENT EXECUTE FUNCTION tell_of_change()"
    )


def downgrade() -> None:
    """Loses nothing: pointers then move after a second instead of at once."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP TRIGGER tell_of_change ON log_checkpoints")
    op.execute("DROP FUNCTION tell_of_change()")
