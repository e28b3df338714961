"""Searching the audit log: indexes for two filters at once, and keyed hashes of the words in texts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    for column in ("actor", "project", "object"):
        op.create_index(f"ix_log_entries_{column}_action", "log_entries", [column, "action", "index"])
    op.create_table(
        "log_words",
        sa.Column("word", sa.LargeBinary, nullable=False),
        sa.Column("entry", sa.Integer, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("word", "entry"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_log_words_entry", "log_words", ["entry"])
    op.create_table(
        "log_search",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
