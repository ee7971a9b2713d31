"""Models that passed the check and failed later, while they scored. They are not used again.

CACHE/models/failed/KEY.json    what failed, why and when; KEY is a hash of name, version and digest
"""

import hashlib
import json
from pathlib import Path

import structlog

from common.times import iso_now
from worker.model.contract import Model

_LOG = structlog.get_logger(__name__)


class ModelFailures:
    """Notes failures in the cache, so that they survive a restart, or in memory if the cache cannot be written.

    Args:
        cache_directory: of downloaded packages.
    """

    def __init__(self, cache_directory: Path) -> None:
        self._directory = cache_directory / "models" / "failed"
        self._noted: dict[Path, str] = {}

    def note(self, model: Model, reason: str) -> None:
        """Note that a model failed."""
        file = self._file(model.name, model.version, model.digest)
        self._noted[file] = reason
        failure = {"name": model.name, "version": model.version, "digest": model.digest}
        failure |= {"reason": reason, "at": iso_now()}
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(failure, indent=2))
        except OSError as error:
            _LOG.warning("cannot write that a model failed; a restart would use it again", reason=str(error))

    def of(self, name: str, version: str, digest: str) -> str | None:
        """Why a model failed, and how to allow it again; None: it has not failed."""
        file = self._file(name, version, digest)
        try:
            reason = str(json.loads(file.read_text())["reason"])
        except FileNotFoundError:
            # The operator has deleted it, unless it could never be written.
            reason = self._noted.get(file, "") if not self._directory.is_dir() else ""
        except (OSError, ValueError, KeyError, TypeError):
            reason = self._noted.get(file, "")
        if not reason:
            return None
        return f"{reason}; register another version, or delete {file} to allow this one again"

    def _file(self, name: str, version: str, digest: str) -> Path:
        key = hashlib.sha256(json.dumps([name, version, digest]).encode()).hexdigest()[:32]
        return self._directory / f"{key}.json"
