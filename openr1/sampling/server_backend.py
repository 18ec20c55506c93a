"""Sampling from running OpenAI-compatible servers: a sliding window over single samples (child processes)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from openr1.errors import EnvironmentProblem, RecipeError
from openr1.sampling.answers import (
    Refused,
    TooLong,
    TryAgain,
    Wait,
    check_status,
    no_entry,
    read_answer,
    request_body,
)
from openr1.sampling.fleet import Fleet, Patience, Server
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit, ends_in_think

logger = logging.getLogger("openr1.sampling")

PER_SERVER = 64  # requests in flight at each server
PATIENCE = Patience()
GLANCE_S = 0.2  # how long a wish to stop may go unnoticed
SHRINKS = 12  # halvings of a budget that a server calls too large without saying what fits

T = TypeVar("T")
Outcome = Completion | Failure


class ServerSampler:
    """Servers that hold one and the same model, as one sampler.

    Its event loop turns only within its methods. That is enough: between two answers the caller writes one
    down, and what arrives meanwhile waits in its socket.
    """

    def __init__(
        self,
        urls: Sequence[str],
        model: str | None,
        *,
        per_server: int | None = None,
        timeout_s: float = 1800.0,
        patience: Patience | None = None,
    ) -> None:
        """Ask every server what it serves. One that does not answer is left aside as long as another does.

        Args:
            model: the name the servers must know; None takes the one they serve.
            per_server: requests in flight at each.
            timeout_s: for one completion.

        Raises:
            EnvironmentProblem: no server answers, or one not as such.
            RecipeError: a server that does not serve this model, or servers that serve different ones.
        """
        servers = [Server(_base(url), _shown(url)) for url in urls]
        self.device, self.unit_size, self.timeout_s = "server", 1, timeout_s
        self.stop_asked: Callable[[], bool] = lambda: False
        """Asked all the time; once it says yes, those who wait for another attempt give up."""
        self.fleet = Fleet(servers, per_server or PER_SERVER, patience or PATIENCE, self._probe)
        self._loop = asyncio.new_event_loop()
        self._session = self._wait(self._open())
        self.fleet.with_session(self._session)
        try:
            listed = self._wait(self._list_all())
            self.model, facts = _agree([s for s in servers if not s.ejected], listed, model)
        except BaseException:
            self.close()
            raise
        self._context = facts.get("max_model_len")
        root = facts.get("root") or self.model
        self.fingerprint = f"server:{self.model}:{root}"
        self._speaks_tokenize: bool | None = None
        self._said_no_usage = False
        self._path = "chat/completions"

    @property
    def servers(self) -> list[Server]:
        return self.fleet.servers

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
    ) -> Iterator[tuple[Unit, list[Outcome]]]:
        """Keep every server busy. A place that becomes free is filled at once, whatever the others do.

        When a stop is asked for, what is at a server is waited for, and what waits for another attempt is
        neither a completion nor a failure.

        Raises:
            ComponentFailed: no server has answered for too long.
            EnvironmentProblem: they want a key.
        """
        source, more = iter(units), True
        tasks: set[asyncio.Task[Any]] = set()
        ready: deque[asyncio.Task[Any]] = deque()
        some = asyncio.Event()
        prefilled = self._prefills()

        def finished(task: asyncio.Task[Any]) -> None:
            ready.append(task)
            some.set()

        async def step() -> None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(some.wait(), GLANCE_S)
            some.clear()

        self._wait(self._start())
        try:
            while True:
                while more and len(tasks) < self._room():
                    unit = next(source, StopIteration)
                    if unit is StopIteration:
                        more = False
                    elif not isinstance(unit, Unit):
                        break
                    else:
                        task = self._loop.create_task(self._draw(unit, params, prefilled))
                        tasks.add(task)
                        task.add_done_callback(finished)
                if not tasks:
                    if not more:
                        return
                    continue
                self._wait(step())
                if self.stop_asked():
                    more = False
                    self.fleet.end_waiting()
                while ready:
                    task = ready.popleft()
                    tasks.discard(task)
                    unit, found = task.result()
                    if found is not None:
                        yield unit, [found]
                if self.fleet.fatal:
                    raise self.fleet.fatal
        finally:
            self._wait(_cancel([*tasks, *self.fleet.stop_watching()]))

    def close(self) -> None:
        if not self._loop.is_closed():
            self._wait(self._session.close())
            self._loop.close()

    def _room(self) -> int:
        """Requests to have in hand: those that wait take no place, and are not endlessly many."""
        full = self.fleet.capacity()
        return full + min(self.fleet.parked, full)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    async def _start(self) -> None:
        self.fleet.start_watching()

    async def _open(self) -> aiohttp.ClientSession:
        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=self.fleet.patience.probe_s)
        return aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0, limit_per_host=0)
        )

    async def _list_all(self) -> list[dict[str, dict[str, Any]]]:
        """What each server that answers serves; the others are set aside."""
        every = await asyncio.gather(*[self._models(s) for s in self.servers], return_exceptions=True)
        listed: list[dict[str, dict[str, Any]]] = []
        absent: list[EnvironmentProblem] = []
        for server, found in zip(self.servers, every, strict=True):
            if isinstance(found, _Absent):
                server.ejected = True
                absent.append(found)
            elif isinstance(found, BaseException):
                raise found
            else:
                listed.append(found)
        if not listed:
            first = absent[0]
            raise EnvironmentProblem(first.what, where=first.where, fix=first.fix) from first
        for problem in absent:
            logger.warning(f"{problem.where}: {problem.what}; the others are asked until it does")
        return listed

    async def _models(self, server: Server) -> dict[str, dict[str, Any]]:
        """Names a server knows, with what it says about each."""
        try:
            timeout = aiohttp.ClientTimeout(total=self.fleet.patience.probe_s)
            async with self._session.get(f"{server.url}/models", timeout=timeout) as reply:
                if reply.status in (401, 403):
                    raise no_entry(server.shown, reply.status)
                if reply.status != 200:
                    raise EnvironmentProblem(
                        f"the server answers with status {reply.status}",
                        where=f"{server.shown}/models",
                        fix="is it up, and is this an OpenAI-compatible address (…/v1)?",
                    )
                listed = (await reply.json(content_type=None))["data"]
                return {str(entry["id"]): entry for entry in listed}
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise _Absent(
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
        found = await self._tell("tokenize", body)
        self._speaks_tokenize = found is not None and "tokens" in found
        return found["tokens"] if found and self._speaks_tokenize else None

    async def _tell(self, name: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """vLLM's /tokenize or /detokenize, of a server that is up; None where there is none."""
        server = next((s for s in self.servers if not s.ejected), self.servers[0])
        url = f"{server.url.removesuffix('/v1')}/{name}"
        timeout = aiohttp.ClientTimeout(total=self.fleet.patience.probe_s)
        try:
            async with self._session.post(url, json=body, timeout=timeout) as reply:
                if reply.status != 200:
                    return None
                found = await reply.json(content_type=None)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _prefills(self) -> bool | None:
        """Whether the chat template ends in `<think>`, by vLLM's /detokenize; None where it does not tell."""
        tokens = self._wait(self._tokens(Request(0, 0, ({"role": "user", "content": "1"},))))
        if not tokens:
            return None
        found = self._wait(self._tell("detokenize", {"model": self.model, "tokens": tokens}))
        return ends_in_think(str(found["prompt"])) if found and "prompt" in found else None

    async def _probe(self, server: Server) -> bool:
        """Complete one token."""
        body: dict[str, Any] = {"model": self.model, "max_tokens": 1, "temperature": 0.0}
        if self._path == "completions":
            body["prompt"] = "1"
        else:
            body["messages"] = [{"role": "user", "content": "1"}]
        timeout = aiohttp.ClientTimeout(total=self.fleet.patience.probe_s)
        try:
            async with self._session.post(f"{server.url}/{self._path}", json=body, timeout=timeout) as reply:
                if reply.status != 200:
                    server.said = f"status {reply.status} {(await reply.text())[:200]}"
                    return False
                return bool(json.loads(await reply.read())["choices"])
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            server.said = str(error) or type(error).__name__
        except (ValueError, KeyError, TypeError):
            server.said = "an answer without a completion"
        return False

    async def _draw(
        self, unit: Unit, params: SamplingParams, prefilled: bool | None
    ) -> tuple[Unit, Outcome | None]:
        (request,) = unit.requests
        return unit, await self._with_retries(request, unit.number, params, prefilled)

    async def _with_retries(
        self, request: Request, number: int, params: SamplingParams, prefilled: bool | None
    ) -> Outcome | None:
        """The completion, or why there is none; None when a stop came first."""
        fleet, patience = self.fleet, self.fleet.patience
        limit, attempts, waits, told, shrinks = params.max_new_tokens, 0, 0, 0.0, 0
        avoid: Server | None = None
        while (server := await fleet.take(avoid)) is not None:
            begun = time.monotonic()
            try:
                completion = await self._ask(server, request, params, prefilled, limit)
                fleet.succeeded(server)
                return replace(
                    completion,
                    latency_s=round(time.monotonic() - begun, 3),
                    server=server.shown,
                    seed=request.seed(params),
                    limit=limit if limit < params.max_new_tokens else None,
                )
            except TooLong as error:
                fleet.succeeded(server)  # it speaks
                room = error.room if error.room is not None and error.room < limit else limit // 2
                shrinks += 1
                if room < 1 or shrinks > SHRINKS:
                    return Failure("too long", error.said, attempts + 1, server.shown, error.status)
                limit = room
                continue
            except Refused as error:
                if error.status in (401, 403) and not server.worked:
                    raise no_entry(server.shown, error.status) from error
                return Failure("refused", error.said, attempts + 1, server.shown, error.status)
            except Wait as error:
                waits += 1
                seconds = error.seconds if error.seconds is not None else patience.pause(waits)
                told += seconds
                if told > patience.told_to_wait_s:
                    return Failure(error.kind, error.said, attempts + waits, server.shown, error.status)
                fleet.hold(server, seconds * _spread(number))
                avoid = server
                continue
            except TryAgain as error:
                fleet.failed(server, number, error.said, gone=error.gone)
                avoid = server
                if error.gone:
                    continue  # nobody was there to be asked; whoever is next has not failed yet
                attempts += 1
                if attempts >= patience.attempts:
                    return Failure(error.kind, error.said, attempts, server.shown, error.status)
            finally:
                fleet.give_back(server)
            await fleet.pause(patience.pause(attempts))
        return None

    async def _ask(
        self, server: Server, request: Request, params: SamplingParams, prefilled: bool | None, limit: int
    ) -> Completion:
        """One attempt at one server.

        Raises:
            TryAgain, Wait, Refused, TooLong: as `answers` says.
        """
        self._path, body, opened = request_body(self.model, request, params, prefilled, limit)
        task = asyncio.current_task()
        assert task
        server.tasks.add(task)
        try:
            async with self._session.post(f"{server.url}/{self._path}", json=body) as reply:
                data = await reply.read()
                if reply.status != 200:
                    check_status(reply.status, data.decode("utf-8", "replace"), reply.headers)
        except asyncio.CancelledError:
            if task not in self.fleet.stalled:
                raise
            raise TryAgain("timeout", "the server hangs") from None
        except aiohttp.ClientConnectorError as error:
            raise TryAgain("connection", str(error), gone=True) from error
        except asyncio.TimeoutError as error:
            raise TryAgain("timeout", f"no whole answer in {self.timeout_s:g} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TryAgain("connection", str(error) or type(error).__name__) from error
        finally:
            server.tasks.discard(task)
            self.fleet.stalled.discard(task)
        completion, counted = read_answer(data, opened)
        if not counted and not self._said_no_usage:
            self._said_no_usage = True
            logger.warning("the server counts no tokens (no `usage` in its answers); lengths are shown as 0")
        return completion


class _Absent(EnvironmentProblem):
    """Nobody answers at an address: the fault of one server, not of the whole."""


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _spread(number: int) -> float:
    """1 to 1.1, so that those who were told to wait equally long do not all return at once."""
    return 1.0 + (number % 16) / 160.0


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
