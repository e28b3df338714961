"""Datasets that projects save: whose they are, each save, and what had been read for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "derived_dataset",
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("user", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.name"]),
        sa.PrimaryKeyConstraint("dataset"),
    )
    op.create_index("ix_derived_dataset_project", "derived_dataset", ["project"])
    op.create_table(
        "derived_version",
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("workspace", sa.Integer, nullable=False),
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("quiet", sa.Boolean, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["workspace"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("dataset", "version"),
    )
    op.create_index("ix_derived_version_workspace", "derived_version", ["workspace"])
    op.create_table(
        "derived_source",
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("source_version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("masks", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("dataset", "version", "source", "source_version"),
    )


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
