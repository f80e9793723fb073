"""Measured rates keep when they were last added to, so that old ones can go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())",
}


def upgrade() -> None:
    """Add the column; what was measured before counts as measured now, so that it is kept."""
    op.add_column("rates", sa.Column("noted_at", sa.Double(), nullable=False, server_default="0"))
    now = _NOW[op.get_bind().dialect.name]
    op.execute(f"UPDATE rates SET noted_at = {now}")  # noqa: S608 - of the two above


def downgrade() -> None:
    """Drop it."""
    op.drop_column("rates", "noted_at")
