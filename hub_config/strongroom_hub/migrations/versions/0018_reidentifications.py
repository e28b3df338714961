"""Tokens that were asked to be turned back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "reidentification",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("user", sa.String(128), nullable=False),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("column", sa.String, nullable=False),
        sa.Column("tokens", sa.JSON, nullable=False),
        sa.Column("salt", sa.String, nullable=False),
        sa.Column("shown_to", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("asked_at", sa.String(24), nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.Column("decided_by", sa.String, nullable=True),
        sa.Column("decided_at", sa.String(24), nullable=True),
        sa.Column("decided_entry", sa.Integer, nullable=True),
        sa.Column("until", sa.String(24), nullable=True),
        sa.Column("shown_at", sa.String(24), nullable=True),
        sa.Column("shown_entry", sa.Integer, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_reidentification_user", "reidentification", ["user"])
    op.create_index("ix_reidentification_dataset", "reidentification", ["dataset"])


def downgrade() -> None:
    raise NotImplementedError("who learned which identities is never forgotten")
