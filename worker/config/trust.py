"""Whom the operator trusts: packages without a registered digest, and scalers that are code, need it."""

import re
from dataclasses import dataclass

from common.errors import UserError

REGISTRY = "registry"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Trust:
    """What HAZARDSTREAM_MODEL_TRUST says.

    Attributes:
        registry: whatever MLflow hands out.
        digests: SHA-256 of the manifests of packages, wherever they come from.
    """

    registry: bool = False
    digests: frozenset[str] = frozenset()

    def covers(self, manifest_sha256: str, *, from_registry: bool) -> bool:
        """Whether a package is trusted."""
        return manifest_sha256 in self.digests or (from_registry and self.registry)


def parse_trust(text: str) -> Trust:
    """Read the setting: `registry`, `sha256:` and the digest of a manifest, or several of these with commas.

    Raises:
        UserError: it is none of these.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        if word != REGISTRY and not _DIGEST.fullmatch(word):
            raise UserError(
                f"HAZARDSTREAM_MODEL_TRUST: {word!r} is neither {REGISTRY!r} nor sha256: and 64 digits; the digest is "
                "that of the package's manifest.json, which `hazardstream model info` prints for an exported file"
            )
    return Trust(REGISTRY in words, frozenset(word.removeprefix("sha256:") for word in words if word != REGISTRY))
