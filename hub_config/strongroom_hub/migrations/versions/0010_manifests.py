"""What the vault says of a draft is kept until its steward has decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("dataset_version", sa.Column("manifest", sa.JSON, nullable=True))


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
