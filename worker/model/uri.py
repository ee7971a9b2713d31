"""URIs of models in MLflow: in the registry by alias, version or stage; and of a run."""

import re
from typing import Literal, NamedTuple, get_args

_Kind = Literal["alias", "version", "stage", "run"]
PATTERNS = {
    "alias": re.compile(r"models:/(?P<name>[^/@]+)@(?P<which>[^/@]+)"),
    "version": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>\d+)"),
    # Registries before MLflow 2.9 know these and nothing else in place of aliases.
    "stage": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>production|staging|archived)", re.IGNORECASE),
    "run": re.compile(r"runs:/(?P<name>[^/]+)/(?P<which>.+)"),
}
"""By kind."""


class ParsedUri(NamedTuple):
    """`name` and `which` are model and alias, model and version, model and stage, or run and path."""

    uri: str
    kind: _Kind
    name: str
    which: str


def parse(uri: str) -> ParsedUri | None:
    """Take a URI apart; None where it is of no known form."""
    for kind in get_args(_Kind):
        if match := PATTERNS[kind].fullmatch(uri):
            return ParsedUri(uri, kind, match["name"], match["which"])
    return None
