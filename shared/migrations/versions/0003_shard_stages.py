"""Stages: shards that wait for the shards before them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shards", sa.Column("stage", sa.Integer(), nullable=False, server_default="0"))
    # Of jobs that are open during the upgrade, the finishing step still comes last.
    op.execute(sa.text("UPDATE shards SET stage = 1 WHERE finishes"))


def downgrade() -> None:
    op.drop_column("shards", "stage")
