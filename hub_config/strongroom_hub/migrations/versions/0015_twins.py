"""Stewards may withhold the synthetic twin of a dataset."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("dataset", sa.Column("twin_withheld", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
