"""The routes of what `hazardstream sink` has stored, where the settings name its database."""

from collections.abc import Sequence

from fastapi import APIRouter

from common.errors import UserError
from common.extras import require_extras
from serve.settings import ServeSettings


def stored(settings: ServeSettings, keys: Sequence[str], pipeline: str) -> APIRouter | None:
    """`/logs`, `/metrics/models` and `/database/stats`; None if no database is set.

    Args:
        settings: name the database.
        keys: the accepted API keys.
        pipeline: its name.

    Raises:
        UserError: there is no such database, no API key, or the extra `sink` is not installed.
    """
    if not settings.serve_database:
        return None
    if not keys:
        raise UserError(
            "HAZARDSTREAM_SERVE_DATABASE shows all stored records to anyone; set an API key "
            "(HAZARDSTREAM_SERVE_API_KEY or HAZARDSTREAM_SERVE_API_KEY_FILE)"
        )
    require_extras("sink")
    from sink.destination import database  # noqa: PLC0415 - an extra
    from sink.engine import reading_engine  # noqa: PLC0415
    from sink.http import stored_routes  # noqa: PLC0415

    return stored_routes(reading_engine(database(settings.serve_database, pipeline)))
