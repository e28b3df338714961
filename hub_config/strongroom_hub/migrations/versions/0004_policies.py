"""Every policy that came into force, with its files, and the proposals that await a second person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "policy_version",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("folder", sa.String(64), nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("actor", sa.String(80), nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("proposal", sa.String(32), nullable=True),
        sa.Column("changes", sa.JSON, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "policy_proposal",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("base", sa.String(64), nullable=False),
        sa.Column("author", sa.String(80), nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.Column("decided_by", sa.String(80), nullable=True),
        sa.Column("decided_at", sa.String(24), nullable=True),
        sa.Column("comment", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_policy_proposal_state", "policy_proposal", ["state"])


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
