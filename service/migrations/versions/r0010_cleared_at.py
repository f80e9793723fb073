"""Jobs keep when what they left in the store was deleted: a late upload may come after."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of jobs that were cleared before, none of it is known."""
    op.add_column("jobs", sa.Column("cleared_at", sa.Double(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("jobs", "cleared_at")
