"""Budgets: how much everybody has asked in each window; webhooks: where events go, and what is on its way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "u0003"
down_revision = "u0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("meter", sa.Text, primary_key=True),
        sa.Column("starts", sa.BigInteger, primary_key=True),
        sa.Column("seconds", sa.Integer, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
    )
    op.create_index("budgets_by_start", "budgets", ["starts"])
    op.create_table(
        "webhooks",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("webhook", sa.Text, sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due", sa.Float, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
    )
    op.create_index("deliveries_due", "deliveries", ["state", "due"])
    op.create_index("deliveries_by_webhook", "deliveries", ["webhook", "number"])


def downgrade() -> None:
    for table in ("deliveries", "webhooks", "budgets"):
        op.drop_table(table)
