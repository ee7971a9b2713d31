"""The tables of a pipeline: which topics they hold, and how their rows are made."""

from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Message

from common.errors import UserError
from schemas.errors import IncompatibleSchemaError
from sink.avro_rows import avro_values
from sink.columns import Column, Columns, Kind
from sink.dead_letter_rows import DEAD_LETTER_FIELDS, dead_letter_values
from sink.request_log import REQUEST_FIELDS, REQUESTS, request_values
from sink.rows import Row, Table
from worker.config.pipeline import Pipeline
from worker.score.decode import WriterSchemaOf

DEAD_LETTERS = "dead_letters"
DEFAULT_ROLES = ("predictions", "alarms", DEAD_LETTERS)
# Their records are readings, or state that only workers read.
_NOT_STORED = {"input", "window_state", "sketches"}
_FIXED: Mapping[str, tuple[Mapping[str, Kind], Callable[[Message], Row]]] = {
    REQUESTS: (REQUEST_FIELDS, request_values),
    DEAD_LETTERS: (DEAD_LETTER_FIELDS, dead_letter_values),
}


def topics_of(pipeline: Pipeline, roles: Sequence[str], request_log: str | None) -> dict[str, str]:
    """The topic of each table.

    Args:
        pipeline: whose topics they are.
        roles: that were asked for; none: the default ones that the pipeline has.
        request_log: topic of the requests to `hazardstream serve`; None: they are not stored.

    Raises:
        UserError: the pipeline has no such role.
    """
    known = {role: topic for role, topic in pipeline.topics.items() if role not in _NOT_STORED}
    for role in roles:
        if role not in known:
            raise UserError(f"--role {role!r}: pipeline {pipeline.name} has {', '.join(known)}")
    chosen = roles or [role for role in DEFAULT_ROLES if role in known]
    found = {role: known[role] for role in chosen}
    return found | {REQUESTS: request_log} if request_log else found


def tables_of(
    pipeline: Pipeline,
    topics: Mapping[str, str],
    writer_schema_of: WriterSchemaOf,
    columns_of: Callable[[str], Mapping[str, Column]],
) -> list[Table]:
    """The tables.

    Args:
        pipeline: declares the records.
        topics: by name of the table; see `topics_of`.
        writer_schema_of: see `schemas.registry.writer_schema_lookup`.
        columns_of: the columns that the destination has for a table.

    Raises:
        UserError: a field does not fit the column that it had before.
    """
    found = []
    for name, topic in topics.items():
        columns = Columns(columns_of(name))
        try:
            if name in _FIXED:
                fields, values = _FIXED[name]
                columns.add(fields)
            else:
                values = avro_values(pipeline.records[name].schema, writer_schema_of, columns)
        except IncompatibleSchemaError as error:
            raise UserError(
                f"table {name}: {error}. Rename the field, or store into another database from now on"
            ) from error
        found.append(Table(name, topic, columns, values))
    return found
