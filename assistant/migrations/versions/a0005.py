"""Which process answers a question, and which processes are alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a0005"
down_revision = "a0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("questions", sa.Column("process", sa.Text))
    op.create_table(
        "processes", sa.Column("id", sa.Text, primary_key=True), sa.Column("seen", sa.Float, nullable=False)
    )


def downgrade() -> None:
    op.drop_table("processes")
    op.drop_column("questions", "process")
