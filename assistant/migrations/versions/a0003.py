"""The desk: hand-offs with a state and an agent, messages of people, who is present; the site of a conversation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a0003"
down_revision = "a0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("site", sa.Text, nullable=False, server_default=""))
    for column in (
        sa.Column("kind", sa.Text, nullable=False, server_default="asked_for_person"),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
        sa.Column("agent", sa.Text),
        sa.Column("taken_at", sa.Text),
        sa.Column("resolved_at", sa.Text),
    ):
        op.add_column("handoffs", column)
    op.execute("UPDATE handoffs SET note = summary")
    op.create_index("handoffs_by_state", "handoffs", ["state"])
    op.create_index("handoffs_by_conversation", "handoffs", ["conversation"])
    op.create_table(
        "messages",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("conversation", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("after", sa.Integer, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("draft", sa.Text, sa.ForeignKey("questions.id", ondelete="SET NULL")),
        sa.Column("once", sa.Text, nullable=False),
        sa.Column("rating", sa.Integer, nullable=False, server_default="0"),
        sa.Column("rating_reason", sa.Text, nullable=False, server_default=""),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.UniqueConstraint("conversation", "once", name="messages_once"),
    )
    op.create_index("messages_by_conversation", "messages", ["conversation"])
    op.create_table(
        "presence",
        sa.Column("agent", sa.Text, primary_key=True),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("presence")
    op.drop_table("messages")
    with op.batch_alter_table("handoffs") as batch:
        batch.drop_index("handoffs_by_state")
        batch.drop_index("handoffs_by_conversation")
        for column in ("kind", "note", "state", "agent", "taken_at", "resolved_at"):
            batch.drop_column(column)
    with op.batch_alter_table("conversations") as batch:
        batch.drop_column("site")
