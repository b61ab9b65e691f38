"""HTTP without trust: a call takes no longer than it may, and its reply no more memory."""

import asyncio
import json
from typing import Any

import httpx2
import openai

LARGEST = 8 << 20
"""Bytes of a reply; a chat completion has a few thousand."""

OURS = ("content-encoding", "content-length", "transfer-encoding")
"""Headers of the way here: they are not true of a body that has been read and unpacked."""


class Wire(openai.DefaultAsyncHttpxClient):
    """An HTTP client whose `timeout` bounds a whole call. httpx bounds each read, so that a server
    that sends a byte now and then would hold a call for ever; and it takes whatever comes."""

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **how: Any
    ) -> httpx2.Response:
        """One attempt. httpx2.ReadTimeout when it takes longer than it may, httpx2.ReadError when
        its reply is too large."""
        try:
            async with asyncio.timeout(request.extensions["timeout"]["read"]):
                response = await super().send(request, stream=True, **how)
                return response if stream else await _whole(response)
        except TimeoutError:
            raise httpx2.ReadTimeout("the call took too long", request=request) from None


async def _whole(response: httpx2.Response) -> httpx2.Response:
    """The reply with its body in memory. JSON is UTF-8, whatever its header says: Python knows
    charsets that are no text."""
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > LARGEST:
                raise httpx2.ReadError(f"the reply is larger than {LARGEST >> 20} MiB")
    finally:
        await response.aclose()
    stream = response.extensions.get("network_stream")
    if stream and not is_json(body):
        await stream.aclose()  # the rest of the body would pass for the next call's answer
    whole = httpx2.Response(
        response.status_code,
        headers=[
            (name, value) for name, value in response.headers.multi_items() if name not in OURS
        ],
        content=bytes(body),
        request=response.request,
    )
    whole.encoding = "utf-8"
    return whole


def is_json(body: bytearray) -> bool:
    """Whether a body is as whole as its length says."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True
