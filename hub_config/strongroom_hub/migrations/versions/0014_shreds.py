"""What was asked to be destroyed by removing its keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "shred",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("columns", sa.JSON, nullable=True),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("asked_by", sa.String, nullable=False),
        sa.Column("asked_at", sa.String(24), nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.Column("decided_by", sa.String, nullable=True),
        sa.Column("decided_at", sa.String(24), nullable=True),
        sa.Column("decided_entry", sa.Integer, nullable=True),
        sa.Column("done_entry", sa.Integer, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_shred_dataset", "shred", ["dataset"])


def downgrade() -> None:
    raise NotImplementedError("what was destroyed is never forgotten")
