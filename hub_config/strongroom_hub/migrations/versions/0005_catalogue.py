"""The catalogue's schema: legal basis, retention, units, codes; what the vault found; retired versions; relabelling."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for column in (
        sa.Column("legal_basis", sa.String, nullable=False, server_default=""),
        sa.Column("retention", sa.JSON, nullable=True),
        sa.Column("consent_column", sa.String, nullable=True),
        sa.Column("contact", sa.String, nullable=False, server_default=""),
    ):
        op.add_column("dataset", column)
    for column in (
        sa.Column("report", sa.JSON, nullable=True),
        sa.Column("decided", sa.JSON, nullable=True),
        sa.Column("sources", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("retired", sa.String(24), nullable=True),
        sa.Column("retired_by", sa.String, nullable=True),
        sa.Column("retired_why", sa.String, nullable=True),
    ):
        op.add_column("dataset_version", column)
    for column in (
        sa.Column("unit", sa.String, nullable=False, server_default=""),
        sa.Column("codes", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("nullable", sa.Boolean, nullable=False, server_default=sa.true()),
    ):
        op.add_column("dataset_column", column)
    op.create_table(
        "relabelling",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("before", sa.String, nullable=False),
        sa.Column("after", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("proposed_by", sa.String, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("decided_by", sa.String, nullable=True),
        sa.Column("decided_at", sa.String(24), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_relabelling_dataset", "relabelling", ["dataset"])


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
