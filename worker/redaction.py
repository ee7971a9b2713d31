"""Takes passwords out of text that is shown: addresses, client properties, errors of services."""

import re

_HIDDEN = "***"
# user:password@ of a URL, up to the last @ of the word: a password may hold one that was not escaped.
_IN_URL = re.compile(r"(?<=://)[^\s'\"<>]*@")
# The same without a scheme, as in host lists: user:password@host:9092.
_IN_ADDRESS = re.compile(
    r"(?<![\w/@:.-])(?!mailto:|models:/|runs:/)[^\s'\"<>/,@:\[\]()]+:(?!//)[^\s'\"<>,]*@(?=[\w\[.-])"
)
_NAMED = re.compile(
    r"(?i)\b([\w.-]*(?:password|passphrase|passwd|secret|token|api[_.-]?key|credential)s?)(\s*[=:]\s*)(?!\s)"
    r"(?!//)(\"[^\"]*\"|'[^']*'|[^\s,;&'\"]+)"
)
_SECRET_NAME = re.compile(
    r"(?i)password|passphrase|passwd|secret|token|\.key\.pem$|^ssl_key$|jaas|sasl\.oauthbearer\.config"
)


def redacted(text: str) -> str:
    """The text without user and password of addresses, and without values of properties that are secret."""
    if "@" in text:
        text = _IN_URL.sub(f"{_HIDDEN}@", text)
        text = _IN_ADDRESS.sub(f"{_HIDDEN}@", text)
    return _NAMED.sub(lambda found: f"{found[1]}{found[2]}{_HIDDEN}", text) if "=" in text else text


def redacted_property(name: str, value: str) -> str:
    """A client property's value as it may be shown."""
    return _HIDDEN if _SECRET_NAME.search(name) else redacted(value)
