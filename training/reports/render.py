"""Renders reports from Jinja2 templates. A template stands beside the module that fills it in.

Names end in `.html.j2` or `.md.j2`. HTML is escaped; control characters in values become visible escapes.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common.text import shown

_SHARED = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """The text of a report.

    Args:
        template: file; it can extend or import those in `training/reports`.
        values: what the template uses. A name that is missing is an error.
    """
    html = template.name.endswith(".html.j2")
    environment = Environment(
        loader=FileSystemLoader([template.parent, _SHARED]),
        autoescape=html,  # noqa: S701 - Markdown has no escaping of its own
        finalize=_visible if html else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(values)


def _visible(value: Any) -> Any:
    return value if isinstance(value, Markup) else shown(value)
