"""Datasets keep when nothing was found beside them, so that gc need not read them every night."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("swept_at", sa.Double(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("jobs", "swept_at")
