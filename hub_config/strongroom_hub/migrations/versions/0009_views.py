"""Which rows a workspace has seen, and by whom dates were shifted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_TABLES = ("source", "derived_source")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("rows", sa.JSON, nullable=True))
        op.add_column(table, sa.Column("subject", sa.String, nullable=True))


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "subject")
        op.drop_column(table, "rows")
