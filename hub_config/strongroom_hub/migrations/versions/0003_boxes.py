"""The tier of each kernel's box, violations of boxes, and what the hub found out about its machine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # A kernel from before has never said what holds it: it counts as the weakest.
    op.add_column("kernel", sa.Column("tier", sa.String(16), nullable=False, server_default="launcher"))
    op.create_table(
        "violation",
        sa.Column("entry", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("server", sa.String(32), nullable=False),
        sa.Column("kernel", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("entry"),
    )
    op.create_index("ix_violation_at", "violation", ["at"])
    op.create_table(
        "machine_check",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("next", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
