"""Removes passwords from text before it is shown: addresses, client properties, errors of services."""

import functools
import re

from common.environment import variables

_HIDDEN = "***"
# user:password@ of a URL, up to the last @ of the word: the password may contain an unescaped one.
_IN_URL = re.compile(r"(?<=://)[^\s'\"<>]*@")
# The same without a scheme, as in host lists: user:password@host:9092.
_IN_ADDRESS = re.compile(
    r"(?<![\w/@:.-])(?!mailto:|models:/|runs:/)[^\s'\"<>/,@:\[\]()]+:(?!//)[^\s'\"<>,]*@(?=[\w\[.-])"
)
_NAMED = re.compile(
    r"(?i)\b([\w.-]*(?:password|passphrase|passwd|secret|token|api[_.-]?key|credential|user[_.]info|jaas[_.]config"
    r"|oauthbearer[_.]config|signature)s?|sig)"
    r"([\"']?\s*[=:]\s*)(?![\s/])(\"[^\"]*\"|'[^']*'|[^\s,;&'\"}]+)"
)
_AUTHORIZATION = re.compile(
    r"(?i)\b(authorization[\"']?\s*[=:]\s*[\"']?)((?:basic|bearer|negotiate|digest)\s+)?[^\s,;'\"]+"
)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_SECRET_NAME = re.compile(
    r"(?i)password|passphrase|passwd|secret|token|credential|\.key\.pem$|^ssl_key$|jaas|oauthbearer[._]config"
    r"|user[._]info|authorization"
)
_SHORTEST = 6  # shorter values of variables occur in any text


def redacted(text: str) -> str:
    """The text without credentials of addresses, values of secret properties, and secrets of the environment."""
    for secret in _own_secrets():
        text = text.replace(secret, _HIDDEN)
    if "@" in text:
        text = _IN_URL.sub(f"{_HIDDEN}@", text)
        text = _IN_ADDRESS.sub(f"{_HIDDEN}@", text)
    if "-----BEGIN" in text:
        text = _PRIVATE_KEY.sub(rf"\1{_HIDDEN}\2", text)
    if "=" in text or ":" in text:
        text = _AUTHORIZATION.sub(rf"\1{_HIDDEN}", text)
        text = _NAMED.sub(lambda found: f"{found[1]}{found[2]}{_HIDDEN}", text)
    return text


@functools.cache
def _own_secrets() -> tuple[str, ...]:
    """Values of environment variables whose names mark them as secret, longest first."""
    named = (value for name, value in variables().items() if _SECRET_NAME.search(name) and not name.endswith("_FILE"))
    return tuple(sorted({value for value in named if len(value) >= _SHORTEST}, key=len, reverse=True))


def redacted_property(name: str, value: str) -> str:
    """The value of a client property, hidden if it is secret."""
    return _HIDDEN if _SECRET_NAME.search(name) else redacted(value)
