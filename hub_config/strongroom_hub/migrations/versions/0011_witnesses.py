"""Cosignatures of witnesses under checkpoints of the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "log_cosignatures",
        sa.Column("size", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("witness", sa.String, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        sa.Column("line", sa.String, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("size", "witness"),
    )


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
