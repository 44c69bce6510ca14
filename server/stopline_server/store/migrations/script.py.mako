"""${message}"""

from alembic import op

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Write it so that the servers before and after it both run on the result."""
    op.execute("")
