"""Alembic's entry for the catalogue's tables. Run by `knowledge.database.migrate`, never imported."""

from alembic import context

from knowledge.database import run_migrations
from knowledge.tables import METADATA

run_migrations(context, METADATA)
