"""Access requests and exports say whether the code of a cell prepared them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for table in ("access_request", "export"):
        op.add_column(table, sa.Column("prepared", sa.Integer, nullable=True))


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
