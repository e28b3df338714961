"""The log's indexes for two filters at once are gone: they cost more than all else of an append (ADR 31)."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    for column in ("actor", "project", "object"):
        op.drop_index(f"ix_log_entries_{column}_action", "log_entries")


def downgrade() -> None:
    raise NotImplementedError("the schema only goes forward: to go back, restore the backup of before the upgrade")
