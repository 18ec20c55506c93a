"""Sampling from running OpenAI-compatible servers, the least busy first, with retries (child processes)."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from openr1.errors import ComponentFailed, EnvironmentProblem, OpenR1Error, RecipeError
from openr1.sampling.requests import Completion, Request, SamplingParams, Unit, ends_in_think

logger = logging.getLogger("openr1.sampling")

PER_SERVER = 64  # requests in flight at each server
ATTEMPTS = 6
FIRST_PAUSE_S = 0.5
PROBE_S = 10.0
BUSY = {408, 409, 425, 429, 500, 502, 503, 504}


@dataclass
class Server:
    """One server: its address and how much it has in hand."""

    url: str
    shown: str
    outstanding: int = 0
    failures: int = 0


class _TryAgain(Exception):
    """This attempt failed in a way that another may not."""


class ServerSampler:
    """Servers that hold one and the same model, as one sampler."""

    def __init__(
        self,
        urls: Sequence[str],
        model: str | None,
        *,
        per_server: int | None = None,
        timeout_s: float = 1800.0,
        first_pause_s: float | None = None,
    ) -> None:
        """Ask every server what it serves.

        Args:
            model: the name the servers must know; None takes the one they serve.
            per_server: requests in flight at each.
            timeout_s: for one completion.

        Raises:
            EnvironmentProblem: a server that does not answer, or not as one.
            RecipeError: a server that does not serve this model, or servers that serve different ones.
        """
        self.servers = [Server(_base(url), _shown(url)) for url in urls]
        self.device, self.unit_size = "server", 1
        self.per_server, self.timeout_s = per_server or PER_SERVER, timeout_s
        self.first_pause_s = FIRST_PAUSE_S if first_pause_s is None else first_pause_s
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._session = self._wait(self._open())
        try:
            listed = self._wait(asyncio.wait_for(self._list_all(), 3 * PROBE_S))
            self.model, facts = _agree(self.servers, listed, model)
        except BaseException:
            self.close()
            raise
        self._context = facts.get("max_model_len")
        root = facts.get("root") or self.model
        self.fingerprint = f"server:{self.model}:{root}"
        self._speaks_tokenize: bool | None = None
        self._said_no_usage = False

    @property
    def context(self) -> int | None:
        return int(self._context) if self._context else None

    def prompt_lengths(self, requests: Sequence[Request]) -> list[int]:
        """By vLLM's /tokenize; [] from servers that have none."""
        found = []
        for request in requests:
            tokens = self._wait(self._tokens(request))
            if tokens is None:
                return []
            found.append(len(tokens))
        return found

    def run(
        self, units: Iterable[Unit | None], params: SamplingParams
    ) -> Iterator[tuple[Unit, list[Completion]]]:
        """Keep every server busy; the first error that another attempt cannot mend ends it."""
        results: queue.Queue[tuple[Unit, Completion | BaseException]] = queue.Queue()
        source, in_flight, more = iter(units), 0, True
        tasks = set()
        prefilled = self._prefills()
        try:
            while more or in_flight:
                while more and in_flight < self.per_server * len(self.servers):
                    unit = next(source, None)
                    if unit is None:
                        more = False
                        break
                    work = self._complete(unit, params, prefilled, results)
                    tasks.add(asyncio.run_coroutine_threadsafe(work, self._loop))
                    in_flight += 1
                if not in_flight:
                    break
                unit, found = results.get()
                in_flight -= 1
                if isinstance(found, BaseException):
                    raise found
                yield unit, [found]
        finally:
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        if not self._loop.is_closed():
            self._wait(self._session.close())
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> aiohttp.ClientSession:
        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=PROBE_S)
        return aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0, limit_per_host=0)
        )

    async def _list_all(self) -> list[dict[str, dict[str, Any]]]:
        return list(await asyncio.gather(*[self._models(server) for server in self.servers]))

    async def _models(self, server: Server) -> dict[str, dict[str, Any]]:
        """Names a server knows, with what it says about each."""
        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_S)
            async with self._session.get(f"{server.url}/models", timeout=timeout) as reply:
                if reply.status in (401, 403):
                    raise _refused(server, reply.status)
                if reply.status != 200:
                    raise EnvironmentProblem(
                        f"the server answers with status {reply.status}",
                        where=f"{server.shown}/models",
                        fix="is it up, and is this an OpenAI-compatible address (…/v1)?",
                    )
                listed = (await reply.json(content_type=None))["data"]
                return {str(entry["id"]): entry for entry in listed}
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise EnvironmentProblem(
                f"the server does not answer ({str(error) or type(error).__name__})",
                where=server.shown,
                fix="start it, or check the address given with --server",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise EnvironmentProblem(
                "this is no OpenAI-compatible server: its list of models cannot be read",
                where=f"{server.shown}/models",
                fix="check the address given with --server",
            ) from error

    async def _tokens(self, request: Request) -> list[int] | None:
        """The prompt's token ids as the server renders it; None where it does not tell."""
        if self._speaks_tokenize is False:
            return None
        body: dict[str, Any] = {"model": self.model}
        if request.prompt is None:
            body |= {"messages": list(request.messages), "add_generation_prompt": True}
        else:
            body |= {"prompt": request.prompt, "add_special_tokens": False}
        url = self.servers[0].url.removesuffix("/v1") + "/tokenize"
        try:
            async with self._session.post(
                url, json=body, timeout=aiohttp.ClientTimeout(total=PROBE_S)
            ) as reply:
                if reply.status == 200:
                    tokens: list[int] = (await reply.json(content_type=None))["tokens"]
                    self._speaks_tokenize = True
                    return tokens
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, KeyError, TypeError):
            pass
        self._speaks_tokenize = False
        return None

    def _prefills(self) -> bool | None:
        """Whether the chat template ends in `<think>`, by vLLM's /detokenize; None where it does not tell."""

        async def look() -> bool | None:
            tokens = await self._tokens(Request(0, 0, ({"role": "user", "content": "1"},)))
            if not tokens:
                return None
            url = self.servers[0].url.removesuffix("/v1") + "/detokenize"
            try:
                body = {"model": self.model, "tokens": tokens}
                async with self._session.post(url, json=body) as reply:
                    return ends_in_think((await reply.json(content_type=None))["prompt"])
            except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, KeyError, TypeError):
                return None

        found: bool | None = self._wait(look())
        return found

    async def _complete(
        self,
        unit: Unit,
        params: SamplingParams,
        prefilled: bool | None,
        results: queue.Queue[tuple[Unit, Completion | BaseException]],
    ) -> None:
        (request,) = unit.requests
        try:
            results.put((unit, await self._with_retries(request, params, prefilled)))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            results.put((unit, error))

    async def _with_retries(
        self, request: Request, params: SamplingParams, prefilled: bool | None
    ) -> Completion:
        last, tried = "", None
        for attempt in range(ATTEMPTS):
            others = [s for s in self.servers if s is not tried] or self.servers
            # One that failed just now comes last, however idle its failures make it look.
            server = min(others, key=lambda s: (s.failures > 0, s.outstanding))
            server.outstanding += 1
            try:
                found = await self._ask(server, request, params, prefilled)
                server.failures = 0
                return found
            except _TryAgain as error:
                server.failures += 1
                last, tried = f"{server.shown}: {error}", server
            finally:
                server.outstanding -= 1
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(self.first_pause_s * 2**attempt * random.uniform(0.5, 1.0))
        raise ComponentFailed(
            f"no server gave an answer in {ATTEMPTS} attempts; the last said: {last}",
            where=", ".join(server.shown for server in self.servers),
            fix="look at the server; finished samples are kept, the same command continues",
        )

    async def _ask(
        self, server: Server, request: Request, params: SamplingParams, prefilled: bool | None
    ) -> Completion:
        path, body, opened = _body(self.model, request, params, prefilled)
        try:
            async with self._session.post(f"{server.url}/{path}", json=body) as reply:
                if reply.status in BUSY:
                    raise _TryAgain(f"status {reply.status} {(await reply.text())[:200]}")
                if reply.status in (401, 403):
                    raise _refused(server, reply.status)
                if reply.status != 200:
                    said = (await reply.text())[:300]
                    raise RecipeError(
                        f"the server refuses the request (status {reply.status}): {said}",
                        where=server.shown,
                        fix="check --model against what it serves, and the options against what it knows",
                    )
                answer = await reply.json(content_type=None)
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
            raise _TryAgain(str(error) or type(error).__name__) from error
        try:
            return self._completion(answer, opened)
        except (KeyError, IndexError, TypeError) as error:
            raise _TryAgain(f"an answer without a completion ({type(error).__name__})") from error

    def _completion(self, answer: dict[str, Any], opened: bool) -> Completion:
        choice = answer["choices"][0]
        message = choice.get("message")
        if message is None:
            text = choice["text"]
        else:
            text = message.get("content") or ""
            # A server with a reasoning parser hands the two parts out apart.
            thought = message.get("reasoning") or message.get("reasoning_content")
            if thought:
                close = "\n</think>\n" if text else ""
                text, opened = f"<think>\n{thought}{close}{text}", False
        tokens = (answer.get("usage") or {}).get("completion_tokens")
        if tokens is None and not self._said_no_usage:
            self._said_no_usage = True
            logger.warning("the server counts no tokens (no `usage` in its answers); lengths are shown as 0")
        finish = choice.get("finish_reason")
        return Completion(str(text), int(tokens or 0), "length" if finish == "length" else "stop", opened)


def _body(
    model: str, request: Request, params: SamplingParams, prefilled: bool | None
) -> tuple[str, dict[str, Any], bool]:
    """Path and body of one request, and whether its prompt ends inside a `<think>`."""
    body: dict[str, Any] = {
        "model": model,
        "temperature": params.temperature,
        "top_p": params.top_p if params.temperature > 0 else 1.0,
        "max_tokens": params.max_new_tokens,
        "seed": request.seed(params),
    }
    if params.top_k:
        body["top_k"] = params.top_k  # vLLM's and SGLang's extension; others refuse it, and say so
    if request.stop:
        body["stop"] = list(request.stop)
    if request.prompt is not None:
        # The prompt is rendered already; vLLM would put a second BOS in front (open-r1#462).
        body |= {"prompt": request.prompt + request.prefill, "add_special_tokens": False}
        return "completions", body, ends_in_think(request.prompt + request.prefill)
    messages = list(request.messages)
    opened = bool(prefilled)
    if request.prefill and not (prefilled and ends_in_think(request.prefill)):
        messages.append({"role": "assistant", "content": request.prefill})
        body |= {"add_generation_prompt": False, "continue_final_message": True}
        opened = ends_in_think(request.prefill)
    body["messages"] = messages
    return "chat/completions", body, opened


def _agree(
    servers: Sequence[Server], listed: Sequence[dict[str, dict[str, Any]]], model: str | None
) -> tuple[str, dict[str, Any]]:
    """The one model all servers have.

    Raises:
        RecipeError: there is none, or several and none was named.
    """
    for server, names in zip(servers, listed, strict=True):
        if model is not None and model not in names:
            raise RecipeError(
                f"the server does not serve `{model}`; it serves {', '.join(names) or 'nothing'}",
                where=server.shown,
                fix=f"--model {next(iter(names), 'NAME')}",
            )
    common = [name for name in listed[0] if all(name in names for names in listed)]
    chosen = model or (common[0] if len(common) == 1 else None)
    if chosen is None:
        every = sorted({name for names in listed for name in names})
        raise RecipeError(
            f"which model? the servers serve {', '.join(every) or 'nothing'}",
            where=", ".join(server.shown for server in servers),
            fix="name one that all of them have with --model",
        )
    return chosen, listed[0][chosen]


def _refused(server: Server, status: int) -> OpenR1Error:
    return EnvironmentProblem(
        f"the server wants a key (status {status})", where=server.shown, fix="set OPENAI_API_KEY"
    )


def _base(url: str) -> str:
    """`host:8000` and `http://host:8000/` as `http://host:8000/v1`.

    Raises:
        RecipeError: no address.
    """
    full = url if "://" in url else f"http://{url}"
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RecipeError(
            f"`{_shown(url)}` is no server's address", where="--server", fix="--server http://HOST:8000"
        )
    path = parts.path.rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path if path.endswith("/v1") else f"{path}/v1", "", ""))


def _shown(url: str) -> str:
    """An address without the password it may hold."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at and "://" in head else tail or url
