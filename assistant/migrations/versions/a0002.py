"""Corrections: what should have been answered, who says so, and who approved it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a0002"
down_revision = "a0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("question", sa.Text, sa.ForeignKey("questions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("draft", sa.Text, nullable=False),
        sa.Column("correction", sa.Text, nullable=False),
        sa.Column("distance", sa.Float, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("consent", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.Column("reviewed_by", sa.Text),
        sa.Column("reviewed_at", sa.Text),
    )
    op.create_index("corrections_by_question", "corrections", ["question"])
    op.create_index("corrections_by_state", "corrections", ["state"])


def downgrade() -> None:
    op.drop_table("corrections")
