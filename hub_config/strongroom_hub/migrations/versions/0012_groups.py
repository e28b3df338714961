"""Groups of people as their identity provider says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "provided_groups",
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("taken", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("user"),
    )


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
