"""Vectors of the sentences of a passage, so that none is embedded while somebody waits for an answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "k0002"
down_revision = "k0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("passage_vectors", sa.Column("sentences", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("passage_vectors", "sentences")
