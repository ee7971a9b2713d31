"""The environment as this project reads it: an empty variable is unset, and what Kubernetes adds is not ours.

Kubernetes gives every pod variables for each service of its namespace (`KAFKA_PORT=tcp://10.0.0.7:9092`,
`KAFKA_SSL_SERVICE_HOST=...`): https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping

_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST$"
    r"|_SERVICE_PORT(_\w+)?$"
    r"|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
# How alike two names are, from 0 to 1, for one to be the other mistyped.
_ALIKE = 0.92


def variables() -> dict[str, str]:
    """Every variable that is set, is not blank, and is not a service link of Kubernetes."""
    return {name: value for name, value in os.environ.items() if value.strip() and not is_service_link(name, value)}


def variable(name: str) -> str | None:
    """One of `variables()`."""
    value = os.environ.get(name, "")
    return value if value.strip() and not is_service_link(name, value) else None


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes made this variable for a service of the namespace."""
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value)))


def service_links(prefixes: tuple[str, ...]) -> list[str]:
    """Names of the service links that begin like our own variables."""
    return sorted(n for n, value in os.environ.items() if n.startswith(prefixes) and is_service_link(n, value))


def closest(name: str, known: Iterable[str], alike: float = _ALIKE) -> str | None:
    """The known name that this one most likely was meant to be; None where none is alike."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, alike)), None)


def mistyped(prefixes: tuple[str, ...], known: Mapping[str, object] | Iterable[str]) -> dict[str, str | None]:
    """Variables with one of the prefixes that nobody reads, and what each most likely was meant to be."""
    names = set(known)
    unread = {name for name in variables() if name.startswith(prefixes)} - names
    return {name: closest(name, sorted(names)) for name in sorted(unread)}
