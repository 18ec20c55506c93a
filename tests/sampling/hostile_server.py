"""A server that does to its clients what servers do: each prompt names its ill, and how often it strikes.

A prompt is `NUMBER ILL TIMES`; after so many attempts it is answered with `re NUMBER`. `never` is no number.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

CONTEXT = 64
ILLS = (
    "fine",
    "error500",
    "hang",
    "reset",
    "truncated",
    "wrong-json",
    "no-choices",
    "null-content",
    "no-end",
    "busy429",
    "drip",
    "too-long",
    "html",
)


@dataclass
class Hostile:
    """Its address, attempts and answers by prompt, and the switch that makes it deaf."""

    url: str = ""
    attempts: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    limits: dict[str, list[int]] = field(default_factory=dict)
    dead: bool = False
    delay: float = 0.0
    counter: int | None = None
    """What /metrics says; None: there is none."""
    on_request: Any = None


@contextmanager
def hostile(delay: float = 0.0, counter: int | None = None) -> Iterator[Hostile]:
    """Serve until the block ends."""
    here = Hostile(delay=delay, counter=counter)

    def cut(request: web.Request) -> None:
        if request.transport:
            request.transport.abort()

    async def models(request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "tiny"}]})

    async def metrics(request: web.Request) -> web.StreamResponse:
        if here.counter is None:
            return web.Response(status=404)
        return web.Response(text=f'vllm:generation_tokens_total{{engine="0"}} {here.counter}.0\n')

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        if here.dead:
            cut(request)
            return web.Response()
        if prompt == "1":  # a probe
            if here.counter is not None:
                here.counter += 1
            return answer("1")
        number, ill, times = prompt.split()
        here.attempts[prompt] += 1
        here.limits.setdefault(prompt, []).append(body["max_tokens"])
        if here.on_request:
            here.on_request(here)
        await asyncio.sleep(here.delay)
        if ill != "fine" and (times == "never" or here.attempts[prompt] <= int(times)):
            struck = await strike(request, ill, body)
            if struck is not None:
                return struck
        here.answered[prompt] += 1
        if here.counter is not None:
            here.counter += 1
        return answer(f"re {number}")

    def answer(text: str) -> web.Response:
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        usage = {"completion_tokens": 3, "prompt_tokens": 5}
        return web.json_response({"id": f"x-{text}", "choices": [choice], "usage": usage})

    async def strike(request: web.Request, ill: str, body: dict[str, Any]) -> web.StreamResponse | None:
        if ill == "error500":
            return web.Response(status=500, text="CUDA error")
        if ill == "hang":
            await asyncio.sleep(3600)
        if ill == "reset":
            cut(request)
        if ill in ("truncated", "drip"):
            response = web.StreamResponse(headers={"Content-Length": "500"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            while ill == "drip":
                await asyncio.sleep(0.05)
                await response.write(b" ")
            cut(request)
            return response
        if ill == "wrong-json":
            return web.Response(text='{"choices": [{"message": {"content": "half')
        if ill == "no-choices":
            return web.json_response({"error": "overloaded"})
        if ill == "null-content":
            choice: dict[str, Any] = {"message": {"content": None}, "finish_reason": "length"}
            return web.json_response({"choices": [choice], "usage": {"completion_tokens": 9}})
        if ill == "no-end":
            return web.json_response({"choices": [{"message": {"content": "half"}, "finish_reason": None}]})
        if ill == "busy429":
            return web.Response(status=429, text="slow down", headers={"Retry-After": "0.2"})
        if ill == "too-long":
            if body["max_tokens"] <= CONTEXT - 10:
                return None
            said = (
                f"This model's maximum context length is {CONTEXT} tokens. However, you requested "
                f"too many tokens (10 in the messages, {body['max_tokens']} in the completion)."
            )
            return web.Response(status=400, text=json.dumps({"error": {"message": said}}))
        if ill == "html":
            return web.Response(text="<html>502 Bad Gateway</html>", content_type="text/html")
        if ill == "refused":
            return web.Response(status=400, text="this prompt is not allowed")
        return None

    async def start() -> None:
        app = web.Application()
        app.router.add_get("/v1/models", models)
        app.router.add_get("/metrics", metrics)
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        here.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    ready, loop, stopped = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield here
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(20)
