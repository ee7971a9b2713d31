"""Which models the operator trusts: packages without a registered digest, and models that are code, need it."""

import re
from dataclasses import dataclass

from common.errors import UserError

REGISTRY = "registry"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Trust:
    """What HAZARDSTREAM_MODEL_TRUST or `trust` in a pipeline file says.

    Attributes:
        registry: whatever MLflow hands out.
        digests: of models, wherever they come from: SHA-256 of a package's manifest, or over a plain model's files.
    """

    registry: bool = False
    digests: frozenset[str] = frozenset()

    def covers(self, digest: str, *, from_registry: bool) -> bool:
        """Whether a model is trusted."""
        return digest in self.digests or (from_registry and self.registry)

    def and_(self, other: "Trust") -> "Trust":
        """What either of them trusts."""
        return Trust(self.registry or other.registry, self.digests | other.digests)


def parse_trust(text: str, where: str = "HAZARDSTREAM_MODEL_TRUST") -> Trust:
    """Read the setting: `registry`, `sha256:` and the digest of a model, or several of these with commas.

    Raises:
        UserError: it is none of these.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        if word != REGISTRY and not _DIGEST.fullmatch(word):
            raise UserError(
                f"{where}: {word!r} is neither {REGISTRY!r} nor sha256: and 64 digits; "
                "`hazardstream model info` prints the digest of a model"
            )
    return Trust(REGISTRY in words, frozenset(word.removeprefix("sha256:") for word in words if word != REGISTRY))
