"""The page at ``/``: talk to the models from a browser. Its files are served as they are; nothing else is loaded.

The files hold no secrets, so they need no key: the page asks for it and sends it with its requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = (
    "api.js", "app.js", "attachment.js", "icon.svg", "page.js", "picture.js", "recorder-worklet.js", "sound.js",
    "style.css", "trace.js", "turns.js",
)  # fmt: skip
OPEN = frozenset({"/", *(f"/page/{name}" for name in FILES)})
"""Paths that need no key."""

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "media-src": "blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Permissions-Policy": "microphone=(self), camera=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again, and not sent again if it is the same
}


def _route(path: str, name: str) -> Route:
    async def page_file(request: Request) -> Response:
        content = files("muomni_serve").joinpath("static", name).read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=TYPES[name[name.rindex(".") :]], headers=headers)

    return Route(path, page_file, methods=["GET"])


ROUTES = [_route("/", "index.html"), *(_route(f"/page/{name}", name) for name in FILES)]
