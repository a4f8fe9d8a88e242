"""When a session was last heard of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "u0006"
down_revision = "u0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("seen", sa.Float))
    op.execute("UPDATE sessions SET seen = ends - 43200")  # all we know is when they began
    with op.batch_alter_table("sessions") as batch:
        batch.alter_column("seen", existing_type=sa.Float, nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("sessions") as batch:
        batch.drop_column("seen")
