"""Who passed which course."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "training_record",
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("course", sa.String(64), nullable=False),
        sa.Column("passed", sa.String(10), nullable=False),
        sa.PrimaryKeyConstraint("user", "course"),
    )


def downgrade() -> None:
    op.drop_table("training_record")
