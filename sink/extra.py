"""What to say where the packages of the extra `sink` are not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import UserError


@contextmanager
def sink_packages() -> Iterator[None]:
    """Import the sink's packages inside the block.

    Raises:
        UserError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{error}; this needs more packages: pip install 'hazardstream[sink]'") from error
