"""An OpenAI-compatible server of a few lines, for what no real one does on request: fail, hang, or say what a
test wants to hear."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = dict[str, Any]
"""text (or content and reasoning), finish, tokens; or status and body; or silent: True."""


@dataclass
class FakeServer:
    """Its address, what was asked of it, and how much at once."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)  # one token, by which health is told
    at_once: int = 0
    most_at_once: int = 0


@contextmanager
def serving(
    answer: Callable[[dict[str, Any]], Answer],
    *,
    models: tuple[str, ...] = ("tiny",),
    context: int | None = None,
    prompt: str | None = None,
    models_status: int = 200,
    delay: float = 0.0,
) -> Iterator[FakeServer]:
    """Serve `answer(body)` until the block ends.

    Args:
        context: max_model_len of the models, as vLLM says it.
        prompt: what /detokenize says every prompt is; None: the server has neither it nor /tokenize.
    """
    fake = FakeServer()

    async def listed(request: web.Request) -> web.Response:
        if models_status != 200:
            return web.Response(status=models_status, text="broken")
        extra = {"max_model_len": context} if context else {}
        return web.json_response({"data": [{"id": name, "root": name, **extra} for name in models]})

    async def completion(request: web.Request) -> web.Response:
        body = await request.json()
        probe = body["max_tokens"] == 1 and body["temperature"] == 0
        (fake.probes if probe else fake.asked).append(body)
        fake.at_once += 1
        fake.most_at_once = max(fake.most_at_once, fake.at_once)
        try:
            await asyncio.sleep(delay)
            said = answer(body)
            if said.get("silent"):
                await asyncio.sleep(3600)
            if "status" in said:
                return web.Response(status=said["status"], text=said.get("body", "no"))
            return web.json_response(_completion(body, said))
        finally:
            fake.at_once -= 1

    async def tokenize(request: web.Request) -> web.Response:
        body = await request.json()
        text = body.get("prompt") or body["messages"][-1]["content"]
        return web.json_response({"tokens": [ord(c) for c in text]})

    async def detokenize(request: web.Request) -> web.Response:
        return web.json_response({"prompt": prompt})

    async def start() -> None:
        app = web.Application()
        app.router.add_get("/v1/models", listed)
        app.router.add_post("/v1/chat/completions", completion)
        app.router.add_post("/v1/completions", completion)
        if prompt is not None:
            app.router.add_post("/tokenize", tokenize)
            app.router.add_post("/detokenize", detokenize)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    ready, loop = threading.Event(), asyncio.new_event_loop()
    stopped = asyncio.Event()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield fake
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(20)


def _completion(body: dict[str, Any], said: Answer) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": said.get("finish", "stop")}
    if "messages" in body:
        message = {"role": "assistant", "content": said.get("text")}
        choice["message"] = message | ({"reasoning": said["reasoning"]} if "reasoning" in said else {})
    else:
        choice["text"] = said.get("text")
    found: dict[str, Any] = {"choices": [choice]}
    if said.get("tokens", 1) is not None:
        found["usage"] = {"completion_tokens": said.get("tokens", len(said.get("text") or ""))}
    return found
