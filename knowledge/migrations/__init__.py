"""Alembic revisions of the knowledge room's tables; run by `knowledge.database.migrate`."""
