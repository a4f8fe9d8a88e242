"""The widget's script, a page of ours that holds it for hosts which take no script, and the owner's preview.

The page may be framed by the site's own origins and by nobody else; the preview only by the console. Wired by
`server.py`.
"""

from __future__ import annotations

import asyncio
import html

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from ui.widget.script import widget_script
from ui.widget.sites import Site, Sites

CACHE_SECONDS = 300
PAGE = (
    '<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="stylesheet" href="/own/widget-page.css"></head><body class="{kind}">{body}'
    '<script src="/widget/rungs.js" data-site="{key}" {more} defer></script></body></html>'
)
PREVIEW = "<main><h1>A page of yours</h1><p>The widget stands here as on your site.</p></main>"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors {ancestors}"
)


def add_widget_pages(app: FastAPI, sites: Sites) -> None:
    """The routes."""

    async def script(request: Request) -> Response:
        made = await asyncio.to_thread(widget_script)
        headers = {
            "etag": made.etag,
            "cache-control": f"public, max-age={CACHE_SECONDS}",
            "cross-origin-resource-policy": "cross-origin",
            "vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == made.etag:
            return Response(status_code=304, headers=headers)
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers |= {"content-encoding": "gzip"} if packed else {}
        body = made.gzipped if packed else made.body
        return Response(body, media_type="text/javascript; charset=utf-8", headers=headers)

    async def frame(key: str) -> Response:
        site = await asyncio.to_thread(sites.find, key)
        if site is None or site.key != key or not site.open:
            return PlainTextResponse("There is no such site.\n", 404)
        return _page(site, "frame", "", 'data-embedded="true"', " ".join(site.origins) or "'none'")

    async def preview(key: str) -> Response:
        site = await asyncio.to_thread(sites.find, key)
        if site is None:
            return PlainTextResponse("There is no such site.\n", 404)
        return _page(site, "preview", PREVIEW, "", "'self'")

    for path, work in (
        ("/widget/rungs.js", script),
        ("/widget/frame/{key}", frame),
        ("/widget/preview/{key}", preview),
    ):
        app.add_api_route(path, work, methods=["GET"], include_in_schema=False, response_model=None)


def _page(site: Site, kind: str, body: str, more: str, ancestors: str) -> HTMLResponse:
    page = PAGE.format(
        language=html.escape(site.look.language, quote=True),
        title=html.escape(site.look.title),
        key=html.escape(site.key, quote=True),
        kind=kind,
        body=body,
        more=more,
    )
    return HTMLResponse(page, headers={"content-security-policy": POLICY.format(ancestors=ancestors)})
