"""REST for the owner: where which events go, and what became of them. Wired by `server.py`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request

from ui.api.problems import Refusal, describes
from ui.api.rest import name_of, tried
from ui.api.rest_shapes import DeliveryList, Kept, Limit, NewWebhook, Offset, WebhookList, WebhookRequest
from ui.api.webhooks import EVENTS, Webhooks

Id = Annotated[str, Path(max_length=64)]


def webhooks_router(webhooks: Webhooks) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

    async def listed() -> WebhookList:
        """Every webhook, and the events that there are."""
        return WebhookList(events=list(EVENTS), webhooks=list(await asyncio.to_thread(webhooks.all)))

    async def add(wanted: WebhookRequest, request: Request) -> NewWebhook:
        """Make one; its secret is told here and nowhere else."""
        by = name_of(request)
        made, secret = await tried(lambda: webhooks.add(wanted.url, wanted.events, by), 409)
        return NewWebhook(webhook=made, secret=secret)

    async def remove(id: Id) -> Kept:
        """Take one away, with everything on its way to it."""
        await tried(lambda: webhooks.remove(id), 404)
        return Kept()

    async def deliveries(id: Id, limit: Limit = 100, offset: Offset = 0) -> DeliveryList:
        """What was sent to one, the latest first."""
        if id not in {one.id for one in await asyncio.to_thread(webhooks.all)}:
            raise Refusal(404, f"there is no webhook {id!r}")
        return DeliveryList(deliveries=list(await asyncio.to_thread(webhooks.deliveries, id, limit, offset)))

    router.add_api_route("", listed, methods=["GET"], responses=describes())
    router.add_api_route("", add, methods=["POST"], responses=describes(400, 409, 413))
    router.add_api_route("/{id}", remove, methods=["DELETE"], responses=describes(400, 404))
    router.add_api_route("/{id}/deliveries", deliveries, methods=["GET"], responses=describes(400, 404))
    return router
