"""A virtual environment for each peer, because their requirements conflict with each other's and with ours."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock
from uv import find_uv_bin

from common.directories import cache_directory
from common.errors import UserError
from local.jars import fetch

_HERE = Path(__file__).parent
_PYTHONS = ((3, 11), (3, 12))  # the newest that all peers support; PyFlink and Bytewax have nothing newer
_INSTALL_TIMEOUT_S = 1200


def environment(name: str) -> Path:
    """The Python of a peer's environment. It is made from pinned requirements, unless it is in the user's cache.

    Args:
        name: of the file in requirements/, without its ending.

    Raises:
        UserError: it cannot be made; the text says why.
    """
    requirements = _HERE / "requirements" / f"{name}.txt"
    python = sys.executable if sys.version_info[:2] in _PYTHONS else "{}.{}".format(*_PYTHONS[0])
    digest = hashlib.sha256(f"{python} {requirements.read_text()}".encode()).hexdigest()[:12]
    directory = cache_directory() / "peers" / f"{name}-{digest}"
    complete = directory / "complete"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(directory, ignore_errors=True)
            _uv("venv", "--python", python, str(directory))
            interpreter = str(directory / "bin" / "python")
            _uv("pip", "install", "--no-deps", "--python", interpreter, "--requirements", str(requirements))
            complete.touch()
    return directory / "bin" / "python"


def jars(name: str) -> Path:
    """Directory with the jars of jars/NAME.lock, downloaded unless the user's cache has them.

    Raises:
        UserError: one cannot be downloaded, or is not the pinned one.
    """
    return fetch((_HERE / "jars" / f"{name}.lock").read_text(), cache_directory())


def version(requirements: str, package: str) -> str:
    """The pinned version of a package."""
    pins = (_HERE / "requirements" / f"{requirements}.txt").read_text()
    found = re.search(rf"^{re.escape(package)}==(\S+)", pins, re.MULTILINE)
    if not found:
        raise UserError(f"requirements/{requirements}.txt does not pin {package}: compile it again")
    return found[1]


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [find_uv_bin(), *arguments], capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise UserError(f"`uv {arguments[0]}` failed: {done.stderr.strip()[-600:]}")
