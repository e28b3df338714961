"""The audit log's tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEARCHED = ("time", "actor", "action", "project", "object", "label")


def upgrade() -> None:
    op.create_table(
        "log_entries",
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("project", sa.String),
        sa.Column("object", sa.String),
        sa.Column("label", sa.String),
    )
    for column in _SEARCHED:
        op.create_index(f"ix_log_entries_{column}", "log_entries", [column])
    _refuse_changes()
    op.create_table(
        "log_tiles",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("edge", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.String, nullable=False),
    )
    op.create_table(
        "log_payloads",
        sa.Column("entry", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_log_payloads_subject", "log_payloads", ["subject"])
    op.create_table(
        "log_payload_keys",
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_log_payload_keys_person", "log_payload_keys", ["person"], unique=True)


def _refuse_changes() -> None:
    words = "the audit log is only ever appended to"
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION log_entries_stay() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER log_entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON log_entries "
            "FOR EACH STATEMENT EXECUTE FUNCTION log_entries_stay()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER log_entries_no_{verb.lower()} BEFORE {verb} ON log_entries "
            f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
        )


def downgrade() -> None:
    raise NotImplementedError("the audit log is never taken back")
