"""Parses the URIs of models: in MLflow's registry, of a run, or of a place where files are."""

import re
from typing import Literal, NamedTuple, get_args

_Kind = Literal["alias", "version", "stage", "latest", "logged", "run", "location"]
PATTERNS = {
    "alias": re.compile(r"models:/(?P<name>[^/@]+)@(?P<which>[^/@]+)"),
    "version": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>\d+)"),
    # Before MLflow 2.9, registries had these stages and no aliases.
    "stage": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>production|staging|archived)", re.IGNORECASE),
    "latest": re.compile(r"models:/(?P<name>[^/@']+)/(?P<which>latest)"),
    # MLflow 3 logs a model as an object of its own.
    "logged": re.compile(r"models:/(?P<which>(?P<name>m-[0-9a-f]{32}))"),
    "run": re.compile(r"runs:/(?P<name>[^/]+)/(?P<which>.+)"),
    "location": re.compile(r"(?P<name>s3)://(?P<which>[^/]+/.+)"),
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
