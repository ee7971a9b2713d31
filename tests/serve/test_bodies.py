"""Bodies that are read at the same time share a budget of memory."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.requests import Request

from serve.bodies import Bodies
from serve.problems import ProblemError

LARGEST = 1000


def request_of(*parts: bytes) -> Request:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return Request({"type": "http", "headers": [(b"content-type", b"application/json")]}, receive)


def test_one_too_many_at_once_is_told_to_come_back_and_costs_the_others_nothing() -> None:
    async def run() -> None:
        bodies = Bodies(LARGEST)
        async with AsyncExitStack() as others:
            for _ in range(8):
                await others.enter_async_context(bodies.held(request_of(b" " * LARGEST)))
            with pytest.raises(ProblemError) as refused:
                await others.enter_async_context(bodies.held(request_of(b" ")))
            assert (refused.value.status, refused.value.error) == (503, "busy")
        async with AsyncExitStack() as later:
            for _ in range(8):
                await later.enter_async_context(bodies.held(request_of(b"{}", b" " * (LARGEST - 2))))

    asyncio.run(run())


def test_a_body_that_is_too_large_gives_back_what_it_took() -> None:
    async def run() -> None:
        bodies = Bodies(LARGEST)
        for _ in range(20):
            with pytest.raises(ProblemError) as refused:
                async with bodies.held(request_of(b" " * LARGEST, b" ")):
                    pass
            assert refused.value.error == "too_large"

    asyncio.run(run())
