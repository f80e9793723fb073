"""Claims of replicas to the commit of a job; a committed shard keeps its own fingerprint."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Until now a row kept the fingerprint of the pool that leased it.
_OF_RECORD = {
    "sqlite": "json_extract(record, '$.fingerprint')",
    "postgresql": "CAST(record AS json) ->> 'fingerprint'",
}


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "commits",
        sa.Column("job_num", _ROW_NUMBER, nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_num"], ["jobs.num"], name=op.f("fk_commits_job_num"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_num", name=op.f("pk_commits")),
    )
    own = _OF_RECORD[op.get_bind().dialect.name]
    op.execute(
        f"UPDATE shards SET fingerprint = {own} "  # noqa: S608 - of the two above
        "WHERE kind = 'shard' AND state = 'done' AND record IS NOT NULL"
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("commits")
