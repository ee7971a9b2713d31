"""Who may call: API keys and the rate limit."""

import secrets
import time
from collections.abc import Sequence

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request

from serve.problems import ProblemError


class Clients:
    """Checks the API key and the rate of each client. A client is a key, or an address where no keys are used.

    Args:
        keys: that are accepted; none: everybody may call.
        limit: of each client; None: no limit.
    """

    def __init__(self, keys: Sequence[str], limit: RateLimitItem | None) -> None:
        self._keys, self._limit = [key.encode() for key in keys], limit
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def admit(self, request: Request) -> None:
        """Let the request pass.

        Raises:
            ProblemError: 401 or 429.
        """
        client = self._client(request)
        if self._limit is None or self._limiter.hit(self._limit, client):
            return
        reset_at = self._limiter.get_window_stats(self._limit, client).reset_time
        wait_s = max(1.0, reset_at - time.time())
        raise ProblemError(429, "rate_limited", f"more than {self._limit} per client", retry_after_s=wait_s)

    def _client(self, request: Request) -> str:
        address = request.client.host if request.client else "unknown"
        if not self._keys:
            return address
        given = request.headers.get("x-api-key", "")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not given and scheme.lower() == "bearer":
            given = token.strip()
        # All are compared, each in constant time, so that the time tells nothing about the keys.
        matches = [secrets.compare_digest(given.encode(), key) for key in self._keys]
        if any(matches):
            return f"key {matches.index(True)}"
        if self._limit is not None and not self._limiter.hit(self._limit, f"refused {address}"):
            raise ProblemError(429, "rate_limited", "too many requests without a valid API key", retry_after_s=60)
        raise ProblemError(401, "unauthorised", "give a valid API key in the header X-API-Key, or as a bearer token")
