"""Accounts whose people an identity provider knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "u0005"
down_revision = "u0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("identity", sa.Text))
    op.create_index("accounts_by_identity", "accounts", ["identity"], unique=True)


def downgrade() -> None:
    op.drop_index("accounts_by_identity", "accounts")
    with op.batch_alter_table("accounts") as batch:
        batch.drop_column("identity")
