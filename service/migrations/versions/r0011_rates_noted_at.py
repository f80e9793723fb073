"""Measured rates keep when they were last added to, so that old ones can go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what was measured before counts as the oldest there is."""
    op.add_column("rates", sa.Column("noted_at", sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("rates", "noted_at")
