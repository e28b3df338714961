"""Cells are looked up by their entry alone: an index that nobody asks cost each begin a page of the disk."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.drop_index("ix_cell_workspace", "cell")


def downgrade() -> None:
    raise NotImplementedError("the schema only goes forward: to go back, restore the backup of before the upgrade")
