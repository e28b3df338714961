"""Alembic environment: runs the migrations on the connection that `database.migrate` passes in."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transactional_ddl=True,  # SQLite can; with it a failed upgrade leaves nothing behind
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
