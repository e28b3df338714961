"""Stewards open or withhold the synthetic twin of a dataset."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("dataset", sa.Column("twin_allowed", sa.Boolean, nullable=True))


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
