"""Control's tables: accounts, projects and servers, catalogue, requests and grants, exports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "access_request",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("version_at_request", sa.Integer, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("submitted_at", sa.String(24), nullable=False),
        sa.Column("decided_at", sa.String(24)),
        sa.Column("decided_by", sa.String),
        sa.Column("comment", sa.String),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_access_request_dataset", "access_request", ["dataset"])
    op.create_index("ix_access_request_state", "access_request", ["state"])
    op.create_index("ix_access_request_user", "access_request", ["user"])
    op.create_table(
        "account",
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("full_name", sa.String, nullable=False),
        sa.Column("password", sa.String, nullable=False),
        sa.Column("otp_secret", sa.String, nullable=False),
        sa.Column("otp_last_step", sa.Integer, nullable=False),
        sa.Column("created", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("user"),
    )
    op.create_table(
        "dataset",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("description", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("stewards", sa.JSON, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("licence", sa.String, nullable=False),
        sa.Column("created", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "dataset_column",
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("description", sa.String, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("dataset", "version", "name"),
    )
    op.create_table(
        "login_guard",
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locks", sa.Integer, nullable=False),
        sa.Column("locked_until", sa.String(24)),
        sa.PrimaryKeyConstraint("user"),
    )
    op.create_table(
        "project",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("since", sa.String(24)),
        sa.Column("until", sa.String(24)),
        sa.Column("created", sa.String(24), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "workspace",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user", "project"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "access_grant",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("request", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("masks", sa.JSON, nullable=False),
        sa.Column("since", sa.String(24), nullable=False),
        sa.Column("until", sa.String(24), nullable=False),
        sa.Column("granted_by", sa.String, nullable=False),
        sa.Column("ended_at", sa.String(24)),
        sa.Column("revoked_by", sa.String),
        sa.Column("reason", sa.String),
        sa.ForeignKeyConstraint(["request"], ["access_request.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("request"),
    )
    op.create_index("ix_access_grant_state", "access_grant", ["state"])
    op.create_table(
        "cell",
        sa.Column("entry", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("workspace", sa.Integer, nullable=False),
        sa.Column("server", sa.String, nullable=False),
        sa.Column("kernel", sa.String, nullable=False),
        sa.Column("notebook", sa.String),
        sa.Column("cell", sa.String),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("began", sa.String(24), nullable=False),
        sa.Column("ended", sa.String(24)),
        sa.Column("status", sa.String),
        sa.Column("end_entry", sa.Integer),
        sa.ForeignKeyConstraint(["workspace"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("entry"),
    )
    op.create_index("ix_cell_workspace", "cell", ["workspace"])
    op.create_table(
        "dataset_version",
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("rows", sa.Integer),
        sa.Column("described", sa.JSON, nullable=False),
        sa.Column("manifest_jws", sa.String),
        sa.Column("created", sa.String(24), nullable=False),
        sa.Column("activated", sa.String(24)),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.name"]),
        sa.PrimaryKeyConstraint("dataset", "version"),
    )
    op.create_table(
        "export",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("workspace", sa.Integer, nullable=False),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("justification", sa.String, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("cells", sa.JSON, nullable=False),
        sa.Column("rule_set", sa.String, nullable=False),
        sa.Column("review", sa.Integer, nullable=False),
        sa.Column("created_at", sa.String(24), nullable=False),
        sa.Column("submitted_at", sa.String(24)),
        sa.Column("released_at", sa.String(24)),
        sa.Column("manifest", sa.String),
        sa.Column("signature", sa.String),
        sa.ForeignKeyConstraint(["workspace"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_export_state", "export", ["state"])
    op.create_index("ix_export_user", "export", ["user"])
    op.create_table(
        "server",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("workspace", sa.Integer, nullable=False),
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("credential_sha256", sa.String(64), nullable=False),
        sa.Column("started", sa.String(24), nullable=False),
        sa.Column("ended", sa.String(24)),
        sa.ForeignKeyConstraint(["workspace"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("credential_sha256"),
    )
    op.create_index("ix_server_workspace", "server", ["workspace"])
    op.create_table(
        "shown",
        sa.Column("workspace", sa.Integer, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["workspace"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("workspace", "day"),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("workspace", sa.Integer, nullable=False),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("masks", sa.JSON, nullable=False),
        sa.Column("since", sa.String(24), nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["workspace"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("workspace", "dataset", "version"),
    )
    op.create_index("ix_source_workspace", "source", ["workspace"])
    op.create_table(
        "export_file",
        sa.Column("export", sa.String(32), nullable=False),
        sa.Column("index", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("type", sa.String),
        sa.Column("findings", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["export"], ["export.id"]),
        sa.PrimaryKeyConstraint("export", "index"),
    )
    op.create_table(
        "export_vote",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("export", sa.String, nullable=False),
        sa.Column("reviewer", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("binding", sa.String, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("entry", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["export"], ["export.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("export", "reviewer", "binding"),
    )
    op.create_index("ix_export_vote_export", "export_vote", ["export"])
    op.create_table(
        "kernel",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("server", sa.String, nullable=False),
        sa.Column("notebook", sa.String),
        sa.Column("started", sa.String(24), nullable=False),
        sa.Column("ended", sa.String(24)),
        sa.ForeignKeyConstraint(["server"], ["server.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_kernel_server", "kernel", ["server"])


def downgrade() -> None:
    raise NotImplementedError("what the audit log speaks of is never dropped")
