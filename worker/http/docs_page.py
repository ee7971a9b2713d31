"""The page that describes the routes of an application. Its scripts come with a package, so it works offline."""

import base64
import hashlib
import re
from importlib.resources import as_file, files

from fastapi import FastAPI, HTTPException, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse

_TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI under `/docs`, for an application whose description is at `/openapi.json`."""
    script, style = (f"docs/{name}" for name in _TYPES)
    html = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=script,
        swagger_css_url=style,
        swagger_favicon_url="data:,",
    )
    (inline,) = re.findall(rb"<script>(.*?)</script>", html.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inline).digest()).decode()
    html.headers["content-security-policy"] = (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        """The description of all routes as a page."""
        return html

    @app.get("/docs/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        """The script and the style sheet of the page."""
        if name not in _TYPES:
            raise HTTPException(404)
        with as_file(files("fastapi_offline") / "static" / name) as path:
            return FileResponse(path, media_type=_TYPES[name])
