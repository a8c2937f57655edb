"""Turns: when a shard of a job was last claimed, so that jobs take turns."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("served_at", sa.Float()))


def downgrade() -> None:
    op.drop_column("jobs", "served_at")
