"""What `hazardstream pipeline check` finds: everything that could stop a worker, but for what the broker knows."""

from collections.abc import Iterator

from common.errors import UserError
from common.text import shown
from schemas.codec import compile_decoder
from schemas.errors import UnreadableValueError
from schemas.registry import COMMAND_TIMEOUT_S, registry_from_environment
from worker.admission.source import resolve_by_settings
from worker.cli.findings import Finding, finding
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.roles import ROLES
from worker.config.settings import Settings, unread_settings
from worker.model.contract import Model


def findings(settings: Settings, *, offline: bool) -> Iterator[Finding]:
    """Check the pipeline of these settings.

    Args:
        settings: name pipeline, registry and model.
        offline: ask no service.
    """
    yield from (Finding("settings", "warning", text) for text in unread_settings())
    try:
        pipeline = load_pipeline(settings.pipeline)
    except UserError as error:
        yield from (Finding("pipeline", "wrong", fault) for fault in str(error).split("\n"))
        return
    topics = f"{pipeline.input.topic} → {pipeline.outputs.predictions.topic}"
    yield Finding("pipeline", "ok", f"{settings.pipeline}: {pipeline.expected_task}, {topics}")
    yield from (Finding("pipeline", "warning", text) for text in _unread_fields(pipeline))
    if offline:
        return
    yield finding("registry", lambda: registry_says(settings, pipeline), unreachable="warning")
    yield from _of_model(settings, pipeline)


def _of_model(settings: Settings, pipeline: Pipeline) -> Iterator[Finding]:
    loaded: list[Model] = []
    yield finding("model", lambda: _passes(settings, pipeline, loaded), unreachable="warning")
    yield from (Finding("model", "warning", text) for model in loaded for text in _missing_values(model, pipeline))


def _missing_values(model: Model, pipeline: Pipeline) -> Iterator[str]:
    """Inputs that a record may lack and the model must have."""
    if model.spec is not None:
        return
    of = {feature.name: feature for feature in pipeline.features or ()}
    record = pipeline.input.record
    for each in model.inputs:
        feature = of.get(each.name)
        if feature is not None and feature.kind not in {"value", "category"}:
            continue
        field = each.name if feature is None else str(feature.field)
        if each.required and record.rules[field].nullable:
            yield (
                f"{record.place(field)} may be null, and model {model.name} {model.version} needs a value of "
                f"{shown(each.name)!r}: records without one become dead letters. Train the model with missing values, "
                "or take null out of the schema"
            )


def _unread_fields(pipeline: Pipeline) -> Iterator[str]:
    record = pipeline.input.record
    for name, rules in record.rules.items():
        if rules.kind == "other":
            yield (
                f"{record.place(name)} is not read: it is no number, boolean, string or enum. If the model needs it, "
                "publish it as one of these"
            )


def registry_says(settings: Settings, pipeline: Pipeline) -> str:
    """What the schema registry says of the schemas of a pipeline's topics.

    Raises:
        UserError: producers' latest schema cannot be read, or an output's schema could not be registered.
        DependencyDownError: the registry does not answer.
    """
    if settings.registry_url is None:
        return "not used: outputs have Avro single-object encoding; set SCHEMA_REGISTRY_URL for Confluent's wire format"
    registry = registry_from_environment(settings.registry_url, timeout_s=COMMAND_TIMEOUT_S)
    for role, record in pipeline.records.items():
        if ROLES[role].written and (fault := registry.incompatibility(f"{pipeline.topics[role]}-value", record.schema)):
            raise UserError(
                f"{record.name} cannot be registered under {pipeline.topics[role]}-value: {fault}; change the schema "
                "so that it can be, or the compatibility rule of the subject"
            )
    subject = f"{pipeline.input.topic}-value"
    latest = registry.latest(subject)
    if latest is None:
        return f"{settings.registry_url} answers; the subject {subject} has no schema yet"
    schema_id, writer = latest
    try:
        compile_decoder(writer, pipeline.input.reader_schema, pipeline.input.utc_offset_ms)
    except UnreadableValueError as error:
        raise UserError(
            f"the latest schema of {subject} (id {schema_id}) cannot be resolved to the pipeline's: {error}; "
            f"correct the producer's schema, or add its names as aliases in {shown(pipeline.input.record.file)}"
        ) from error
    return f"{settings.registry_url} answers; the latest schema of {subject} (id {schema_id}) can be read"


def model_says(settings: Settings, pipeline: Pipeline) -> str:
    """Whether the model suits the pipeline.

    Raises:
        UserError: it does not, or there is none.
        DependencyDownError: MLflow does not answer.
    """
    return _passes(settings, pipeline, [])


def _passes(settings: Settings, pipeline: Pipeline, loaded: list[Model]) -> str:
    uri = settings.model_uri(pipeline.model)
    model = resolve_by_settings(settings, uri, pipeline)
    loaded.append(model)
    return f"{uri}: {model.name} version {model.version} passes the check"
