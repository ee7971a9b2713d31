"""Reads the bodies of requests, and bounds the memory that all of them take together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from serve.problems import ProblemError

_JSON = ("application/json", "application/vnd.api+json")
_LARGEST_AT_ONCE = 8


class Bodies:
    """The bodies that are read or wait to be scored.

    Args:
        largest: bytes that one body may have. All together may have eight times as many.
    """

    def __init__(self, largest: int) -> None:
        self._largest, self._left = largest, _LARGEST_AT_ONCE * largest

    @asynccontextmanager
    async def held(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, which counts until the block ends.

        Raises:
            ProblemError: 413 or 415, or 503 while others take the memory.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _JSON:
            raise ProblemError(415, "not_json", "send JSON, with the header Content-Type: application/json")
        parts, size = list[bytes](), 0
        try:
            async for part in request.stream():
                size += len(part)
                self._left -= len(part)
                if size > self._largest:
                    text = f"the body is larger than {self._largest} bytes; send fewer rows at once"
                    raise ProblemError(413, "too_large", text)
                if self._left < 0:
                    raise ProblemError(503, "busy", "too many large requests wait", retry_after_s=1)
                parts.append(part)
            yield b"".join(parts)
        finally:
            self._left += size
