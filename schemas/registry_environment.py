"""Names of the registry's variables: `SCHEMA_REGISTRY_` and a property of Confluent's client in capitals."""

from common.environment import variable

PREFIX = "SCHEMA_REGISTRY_"
CLIENT_CREDENTIALS = ("BEARER_AUTH_CLIENT_ID", "BEARER_AUTH_CLIENT_SECRET", "BEARER_AUTH_ISSUER_ENDPOINT_URL")
_PLAIN = ("URL", "AUTO_REGISTER", "USE_ID", "SSL_CA_LOCATION", "SSL_CERTIFICATE_LOCATION", "SSL_KEY_LOCATION")
_OR_IN_A_FILE = (
    "SSL_KEY_PASSWORD",
    "BASIC_AUTH_USER_INFO",
    "BEARER_AUTH_TOKEN",
    *CLIENT_CREDENTIALS,
    "BEARER_AUTH_SCOPE",
    "BEARER_AUTH_LOGICAL_CLUSTER",
    "BEARER_AUTH_IDENTITY_POOL_ID",
)
NAMES = (*_PLAIN, *_OR_IN_A_FILE, *(f"{name}_FILE" for name in _OR_IN_A_FILE))
"""All variables that are read, without the prefix."""


def registry_variables() -> dict[str, str]:
    """The variables that are set, by name without the prefix. Empty ones count as unset."""
    return {name: value for name in NAMES if (value := variable(PREFIX + name)) is not None}
