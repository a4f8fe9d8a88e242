"""Sites of the widget, keys that prove who a visitor is, what was proved with them, this deployment's own secrets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "u0004"
down_revision = "u0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sites",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("origins", sa.Text, nullable=False),
        sa.Column("look", sa.Text, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
    )
    op.create_table(
        "identity_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("site", sa.Text, sa.ForeignKey("sites.key", ondelete="CASCADE"), nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("material", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
    )
    op.create_index("identity_keys_by_site", "identity_keys", ["site"])
    op.create_table(
        "identity_uses",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("visitor", sa.Text, nullable=False),
        sa.Column("ends", sa.Float, nullable=False),
    )
    op.create_table(
        "server_secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("server_secrets", "identity_uses", "identity_keys", "sites"):
        op.drop_table(table)
