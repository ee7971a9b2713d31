"""Parses the URIs of models in MLflow: by alias, version or stage in the registry, or by run."""

import re
from typing import Literal, NamedTuple, get_args

_Kind = Literal["alias", "version", "stage", "run"]
PATTERNS = {
    "alias": re.compile(r"models:/(?P<name>[^/@]+)@(?P<which>[^/@]+)"),
    "version": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>\d+)"),
    # Before MLflow 2.9, registries had these stages and no aliases.
    "stage": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>production|staging|archived)", re.IGNORECASE),
    "run": re.compile(r"runs:/(?P<name>[^/]+)/(?P<which>.+)"),
}
"""The form of each kind of URI."""


class ParsedUri(NamedTuple):
    """A model URI. `name` and `which` are model and alias, model and version, model and stage, or run and path."""

    uri: str
    kind: _Kind
    name: str
    which: str


def parse(uri: str) -> ParsedUri | None:
    """Parse a URI; None if it has none of the forms."""
    for kind in get_args(_Kind):
        if match := PATTERNS[kind].fullmatch(uri):
            return ParsedUri(uri, kind, match["name"], match["which"])
    return None
