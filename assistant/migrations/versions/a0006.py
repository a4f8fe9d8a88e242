"""Documents that belong to one conversation, and what was erased when (never what it said)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a0006"
down_revision = "a0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attachments",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("conversation", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("embedder", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
    )
    op.create_index("attachments_by_conversation", "attachments", ["conversation"])
    op.create_table(
        "attachment_passages",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("attachment", sa.Text, sa.ForeignKey("attachments.id", ondelete="CASCADE"), nullable=False),
        sa.Column("passage", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("sentences", sa.LargeBinary, nullable=False),
    )
    op.create_index("attachment_passages_by_attachment", "attachment_passages", ["attachment"])
    op.create_table(
        "erasures",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("conversations", sa.Integer, nullable=False),
        sa.Column("corrections", sa.Integer, nullable=False),
        sa.Column("erased_at", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("erasures", "attachment_passages", "attachments"):
        op.drop_table(table)
