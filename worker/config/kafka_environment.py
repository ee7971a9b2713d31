"""TLS and SASL properties of the Kafka client, from `KAFKA_*` variables: only names that librdkafka knows are read."""

from pathlib import Path

from common.environment import closest, variables
from common.errors import UserError

_PROPERTIES = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.sub.claim.name",
    "sasl.oauthbearer.token.endpoint.url",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
)
PROPERTY_OF = {f"KAFKA_{name.upper().replace('.', '_')}": name for name in _PROPERTIES}
_FILE = "_FILE"
KNOWN = frozenset(
    {"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CONFIG_FILE", *PROPERTY_OF, *(f"{name}{_FILE}" for name in PROPERTY_OF)}
)
"""Every `KAFKA_*` variable that is read."""

SECURITY = ("KAFKA_SECURITY_", "KAFKA_SASL_", "KAFKA_SSL_")
"""Prefixes of variables that are never ignored in silence."""


def security_properties() -> dict[str, str]:
    """Properties by librdkafka's names, from the variables that are set.

    Raises:
        UserError: a variable is mistyped (a connection less safe than meant would be the result), or names a file that
            cannot be read.
    """
    found = {}
    for name, value in variables().items():
        if name in PROPERTY_OF:
            found[PROPERTY_OF[name]] = value
        elif name in KNOWN and name.removesuffix(_FILE) in PROPERTY_OF:
            found[PROPERTY_OF[name.removesuffix(_FILE)]] = read(name, value)
        elif name.startswith(SECURITY) and (meant := closest(name, sorted(KNOWN))):
            raise UserError(f"{name} is not a variable that is read; did you mean {meant}? Correct or unset it")
    return found


def read(name: str, path: str) -> str:
    """The text of a file that a variable names.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{name}={path}: cannot be read ({reason}); correct the path or unset it") from error
