"""Environment variables: an empty one counts as unset, and those that Kubernetes adds are ignored.

Kubernetes adds variables to every pod for each service of its namespace (`KAFKA_PORT=tcp://10.0.0.7:9092`,
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
# From this similarity (0 to 1) on, a name counts as a misspelling of another.
_ALIKE = 0.92


def variables() -> dict[str, str]:
    """Every variable that is set and not blank, except service links of Kubernetes."""
    return {name: value for name, value in os.environ.items() if value.strip() and not is_service_link(name, value)}


def variable(name: str) -> str | None:
    """One of `variables()`."""
    value = os.environ.get(name, "")
    return value if value.strip() and not is_service_link(name, value) else None


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes made this variable for a service of the namespace."""
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value)))


def service_links(prefixes: tuple[str, ...]) -> list[str]:
    """Names of the service links that start like our own variables."""
    return sorted(n for n, value in os.environ.items() if n.startswith(prefixes) and is_service_link(n, value))


def closest(name: str, known: Iterable[str], alike: float = _ALIKE) -> str | None:
    """The known name that is most similar to this one; None if none is similar enough."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, alike)), None)


def mistyped(prefixes: tuple[str, ...], known: Mapping[str, object] | Iterable[str]) -> dict[str, str | None]:
    """Unknown variables with one of the prefixes, and the known name that each probably means."""
    names = set(known)
    unread = {name for name in variables() if name.startswith(prefixes)} - names
    return {name: closest(name, sorted(names)) for name in sorted(unread)}
