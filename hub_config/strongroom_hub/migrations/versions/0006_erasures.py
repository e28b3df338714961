"""Erasures of people's texts from beside the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "log_erasures",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("asked_by", sa.String, nullable=False),
        sa.Column("asked_at", sa.String(24), nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.Column("decided_by", sa.String, nullable=True),
        sa.Column("decided_at", sa.String(24), nullable=True),
        sa.Column("done_entry", sa.Integer, nullable=True),
        sa.Column("cleared_at", sa.String(24), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_log_erasures_person", "log_erasures", ["person"])
    op.create_index("ix_log_erasures_subject", "log_erasures", ["subject"])


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
