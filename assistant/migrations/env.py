"""Alembic's entry for the assistant's tables. Run by `knowledge.database.migrate`, never imported."""

from alembic import context

from assistant.tables import METADATA
from knowledge.database import run_migrations

run_migrations(context, METADATA)
