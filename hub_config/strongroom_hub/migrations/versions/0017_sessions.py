"""How long a kernel may live that has read data under a rule of `session`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("kernel", sa.Column("session_until", sa.String(24), nullable=True))
    op.add_column("kernel", sa.Column("session_rule", sa.String(512), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
