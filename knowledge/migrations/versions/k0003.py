"""When each passage of the backlog changed; on PostgreSQL the keyword table, with SQLite's stemmer."""

from __future__ import annotations

import sqlalchemy as sa
import sqlalchemy.dialects.postgresql
from alembic import op

revision = "k0003"
down_revision = "k0002"
branch_labels = None
depends_on = None

KINDS = "asciiword, word, numword, asciihword, hword, numhword, hword_asciipart, hword_part, hword_numpart, int, uint"


def upgrade() -> None:
    op.add_column("index_backlog", sa.Column("generation", sa.Integer, nullable=False, server_default="0"))
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("CREATE TEXT SEARCH DICTIONARY rungs_porter (TEMPLATE = snowball, LANGUAGE = porter)")
    op.execute('CREATE TEXT SEARCH CONFIGURATION rungs_words (PARSER = "default")')
    op.execute(f"ALTER TEXT SEARCH CONFIGURATION rungs_words ADD MAPPING FOR {KINDS}, float, sfloat WITH rungs_porter")
    op.create_table(
        "passage_words",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("words", sa.dialects.postgresql.TSVECTOR, nullable=False),
    )
    # ranking reads the words of many rows: they stay in the row, as they are, where they fit a page
    op.execute("ALTER TABLE passage_words ALTER COLUMN words SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE passage_words SET (toast_tuple_target = 8160)")
    op.execute("CREATE INDEX passage_words_by_word ON passage_words USING gin (words) WITH (fastupdate = off)")
    op.create_table(
        "passage_words_total", sa.Column("passages", sa.Integer, nullable=False), sa.Column("size", sa.BigInteger)
    )
    op.execute("INSERT INTO passage_words_total VALUES (0, 0)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_table("passage_words_total")
        op.drop_table("passage_words")
        op.execute("DROP TEXT SEARCH CONFIGURATION rungs_words")
        op.execute("DROP TEXT SEARCH DICTIONARY rungs_porter")
    op.drop_column("index_backlog", "generation")
