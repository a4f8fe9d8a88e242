"""Secrets of this deployment that no person sees: kept in the database, so that every process has the same.

Called by whoever signs something: the widget's tokens, a login's state.
"""

from __future__ import annotations

import secrets

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from knowledge.database import reading, writing
from ui.access.site_tables import server_secrets

BYTES = 48


def kept(engine: Engine, name: str) -> str:
    """The secret of a name, made when it is first needed; several processes agree on one."""
    query = select(server_secrets.c.value).where(server_secrets.c.name == name)
    with reading(engine) as connection:
        found = connection.scalar(query)
    if found:
        return str(found)
    try:
        with writing(engine) as connection:
            connection.execute(insert(server_secrets), {"name": name, "value": secrets.token_urlsafe(BYTES)})
    except IntegrityError:  # another process was quicker
        pass
    with reading(engine) as connection:
        return str(connection.scalar(query))
