"""The hashes of the last, open tile one by one: written anew with each entry, that tile cost five pages of the disk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_HASH_BYTES = 32
_WHOLE = 256 * _HASH_BYTES


def upgrade() -> None:
    hashes = op.create_table(
        "log_hashes",
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    tiles = sa.table(
        "log_tiles",
        sa.column("level", sa.Integer),
        sa.column("number", sa.Integer),
        sa.column("hashes", sa.LargeBinary),
    )
    open_one = (tiles.c.level == 0) & (sa.func.length(tiles.c.hashes) < _WHOLE)
    for number, stored in op.get_bind().execute(sa.select(tiles.c.number, tiles.c.hashes).where(open_one)).all():
        parts = [bytes(stored[at : at + _HASH_BYTES]) for at in range(0, len(stored), _HASH_BYTES)]
        rows = [{"index": number * 256 + place, "hash": part} for place, part in enumerate(parts)]
        if rows:
            op.bulk_insert(hashes, rows)
    op.execute(tiles.delete().where(open_one))


def downgrade() -> None:
    raise NotImplementedError("the schema only goes forward: to go back, restore the backup of before the upgrade")
