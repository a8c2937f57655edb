"""Corrections that people make to the images of a set: image_annotations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_annotations",
        sa.Column("image_set_id", sa.String(40), sa.ForeignKey("artifacts.id"), primary_key=True),
        sa.Column("name", sa.String(1000), primary_key=True),
        sa.Column("plane", sa.String(20)),
        sa.Column("patient_group", sa.String(200)),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("image_annotations")
