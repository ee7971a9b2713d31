"""Routes that query what a sink has stored, for `hazardstream serve`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from sqlalchemy.engine import Engine

from common.errors import DependencyDownError, UserError
from sink.queries import MOST_ROWS, database_stats, newest_rows, predictions_by_model

_DOWN: dict[int | str, dict[str, Any]] = {503: {"description": "The database does not answer."}}
_Since = Annotated[
    datetime | None, Query(description="Smallest Kafka timestamp, ISO 8601; UTC where it names no zone.")
]


def stored_routes(engine: Engine) -> APIRouter:
    """`/logs`, `/metrics/models` and `/database/stats`. The application that includes them checks the API key.

    Args:
        engine: see `sink.engine.reading_engine`.
    """
    router = APIRouter(tags=["stored"])

    @router.get("/logs", responses={404: {"description": "There is no such table."}, **_DOWN})
    def logs(
        table: Annotated[str, Query(description="For example predictions, alarms, dead_letters or requests.")] = (
            "predictions"
        ),
        key: Annotated[str | None, Query(description="Key of the records.")] = None,
        since: _Since = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100,
    ) -> list[dict[str, Any]]:
        """The newest rows of a table, newest first."""
        try:
            return newest_rows(engine, table, key, since and _aware(since), limit)
        except (UserError, DependencyDownError) as error:
            raise _problem(error) from error

    @router.get("/metrics/models", responses=_DOWN)
    def models(since: _Since = None) -> list[dict[str, Any]]:
        """The number of predictions by hour and version of the model; without `since`, of the last 24 hours."""
        try:
            return predictions_by_model(engine, _aware(since) if since else datetime.now(UTC) - timedelta(days=1))
        except (UserError, DependencyDownError) as error:
            raise _problem(error) from error

    @router.get("/database/stats", responses=_DOWN)
    def stats() -> dict[str, Any]:
        """Rows, times and sizes of the tables, unreadable records, and records that were lost."""
        try:
            return database_stats(engine)
        except (UserError, DependencyDownError) as error:
            raise _problem(error) from error

    return router


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _problem(error: UserError | DependencyDownError) -> HTTPException:
    if isinstance(error, DependencyDownError):
        return HTTPException(503, f"{error.dependency} does not answer; try again later")
    return HTTPException(404, str(error))
