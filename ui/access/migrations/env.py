"""Alembic's entry for the tables of people. Run by `knowledge.database.migrate`, never imported."""

from alembic import context

from knowledge.database import run_migrations
from ui.access import site_tables  # noqa: F401  (its tables belong to the metadata)
from ui.access.people_tables import METADATA

run_migrations(context, METADATA)
