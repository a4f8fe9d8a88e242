"""The tables of sites, as SQLAlchemy sees them: where the widget may stand, and who may prove who a visitor is.

Changed together with a revision in `migrations/`. Called by `widget/sites.py` and Alembic.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, Table, Text

from ui.access.people_tables import METADATA

sites = Table(
    "sites",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("origins", Text, nullable=False),
    Column("look", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Text, nullable=False),
)
identity_keys = Table(
    "identity_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("site", Text, ForeignKey("sites.key", ondelete="CASCADE"), nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("material", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Index("identity_keys_by_site", "site"),
)
identity_uses = Table(
    "identity_uses",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("visitor", Text, nullable=False),
    Column("ends", Float, nullable=False),
)
server_secrets = Table(
    "server_secrets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
