"""Serves /openapi.json, and Swagger UI at /docs (/ redirects there) from a package's files, under a strict CSP."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import NotFound

from app.api.input.blueprint import json_answer
from app.api.middleware.long_poll_limit import WaitSlots

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>cph-webhook-bridge</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript><a href="openapi.json">openapi.json</a></noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """window.ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, displayRequestDuration: true, validatorUrl: null
});
"""
PACKAGE = files("flask_openapi3_swagger") / "templates" / "swagger"
ASSETS = {
    "swagger-ui.css": ("text/css", PACKAGE / "css" / "swagger-ui.css"),
    "swagger-ui-bundle.js": ("text/javascript", PACKAGE / "js" / "swagger-ui-bundle.js"),
}


class Docs:
    """Pages that need no key. slots: limit those that are sent at once: slow readers of large ones occupy threads."""

    def __init__(self, document: Callable[[], Any], slots: WaitSlots) -> None:
        self._document = document
        self._slots = slots

    def register(self, app: Flask) -> None:
        app.add_url_rule("/", "root", self.root)
        app.add_url_rule("/openapi.json", "openapi", self.document)
        app.add_url_rule("/docs", "docs", self.page)
        app.add_url_rule("/docs/<name>", "docs_file", self.file)

    def root(self) -> Response:
        return Response(status=302, headers={**HEADERS, "Location": "docs"})

    def document(self) -> Response:
        return self._limited(json_answer(json.dumps(self._document(), ensure_ascii=False)))

    def page(self) -> Response:
        return Response(PAGE, headers=HEADERS, mimetype="text/html")

    def file(self, name: str) -> Response:
        if name == "start.js":
            return Response(START, headers=HEADERS, mimetype="text/javascript")
        if name not in ASSETS:
            raise NotFound
        media_type, file = ASSETS[name]
        return self._limited(Response(file.read_bytes(), headers=HEADERS, mimetype=media_type))

    def _limited(self, response: Response) -> Response:
        response.call_on_close(self._slots.acquire("anyone"))
        return response
