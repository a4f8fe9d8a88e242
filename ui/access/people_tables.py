"""The tables of people and programs, as SQLAlchemy sees them. Changed together with a revision in `migrations/`.

Passwords, sessions, keys and links are kept as hashes: who reads the database cannot log in with it. A webhook's secret
is kept as it is, since deliveries are signed with it. Called by `people.py`, `budgets.py`,
`api/webhooks.py` and Alembic.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

METADATA = MetaData()

accounts = Table(
    "accounts",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("identity", Text),
    Index("accounts_by_identity", "identity", unique=True),
)
sessions = Table(
    "sessions",
    METADATA,
    Column("hash", Text, primary_key=True),
    Column("account", Text, ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False),
    Column("ends", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Index("sessions_by_account", "account"),
)
keys = Table(
    "keys",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Text, nullable=False),
)
budgets = Table(
    "budgets",
    METADATA,
    Column("who", Text, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("starts", BigInteger, primary_key=True),
    Column("seconds", Integer, nullable=False),
    Column("used", BigInteger, nullable=False),
    Index("budgets_by_start", "starts"),
)
webhooks = Table(
    "webhooks",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", Text, nullable=False),
)
deliveries = Table(
    "deliveries",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),
    Column("webhook", Text, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due", Float, nullable=False),
    Column("told", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Index("deliveries_due", "state", "due"),
    Index("deliveries_by_webhook", "webhook", "number"),
)
