"""Running servers as a fleet: who is asked next, who is set aside, and when one is trusted again.

A server is set aside when connections to it are refused, when several requests in a row fail there, or when
it hangs: requests run, but no completion and no new token is seen for a while (a hung vLLM's /health stays
200). It is trusted again after it has completed a token, and its token counter, where it has one, rose.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import aiohttp

from openr1.errors import ComponentFailed

logger = logging.getLogger("openr1.sampling")

COUNTER = re.compile(rb"^(?:vllm|sglang):generation_tokens_total(?:\{[^}]*\})? ([0-9.eE+]+)", re.MULTILINE)
"""Tokens a server has generated, in its /metrics; one line per engine."""
EJECT_AFTER = 3  # failures in a row, of two requests at least: one that fails everywhere proves nothing


@dataclass(frozen=True)
class Patience:
    """How long is waited for what, in seconds, and how often one completion is asked for."""

    attempts: int = 6
    first_pause_s: float = 0.5
    """Before the second attempt; doubled for each after it, with jitter."""
    longest_pause_s: float = 60.0
    probe_s: float = 10.0
    """For the list of models and the completion of one token."""
    look_s: float = 20.0
    """Without a sign of life before a server at work is looked at."""
    dead_looks: int = 3
    """Looks in a row that find nothing before it is set aside."""
    first_answer_s: float = 60.0
    """With no server answering, as long as none ever has."""
    outage_s: float = 900.0
    """With no server answering, after some did."""
    told_to_wait_s: float = 1800.0
    """For one completion, by 429 and Retry-After in all."""

    def scaled(self, factor: float) -> Patience:
        """The same with a faster clock."""
        return replace(self, **{k: v * factor for k, v in vars(self).items() if k.endswith("_s")})

    def pause(self, attempt: int) -> float:
        """Seconds after this attempt (from 1), with jitter: a crowd does not return at once."""
        full = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (attempt - 1))
        return full * random.uniform(0.5, 1.0)


@dataclass
class Server:
    """One server, how much it has in hand, and how it does."""

    url: str
    shown: str
    outstanding: int = 0
    failures: int = 0
    """In a row."""
    failed: set[int] = field(default_factory=set)
    """The requests whose failures those are."""
    ejected: bool = False
    worked: bool = False
    said: str = ""
    held_until: float = 0.0
    last_sign: float = 0.0
    dead_looks: int = 0
    counter: float | None = None
    tasks: set[asyncio.Task[object]] = field(default_factory=set)
    watch: asyncio.Task[None] | None = None


Probe = Callable[[Server], Awaitable[bool]]
"""Completes one token at a server; whether that worked."""


class Fleet:
    """Hands out servers, the least busy first, never more than `per_server` requests at one."""

    def __init__(self, servers: Sequence[Server], per_server: int, patience: Patience, probe: Probe) -> None:
        self.servers, self.per_server, self.patience = list(servers), per_server, patience
        self.parked = 0
        """Requests that wait: for a server, or for their next attempt."""
        self.fatal: ComponentFailed | None = None
        self.ended = asyncio.Event()
        """Set when those who wait are to give up."""
        self.stalled: set[asyncio.Task[object]] = set()
        """Requests that were called back from a server that hangs."""
        self._probe = probe
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._out_since: float | None = None

    def wait_for_servers(self, seconds: float) -> None:
        """How long to go on while no server answers."""
        first = min(seconds, self.patience.first_answer_s)
        self.patience = replace(self.patience, outage_s=seconds, first_answer_s=first)

    def capacity(self) -> int:
        """Requests that can be at servers now; one server's worth when all are set aside."""
        return self.per_server * max(1, sum(not server.ejected for server in self.servers))

    async def take(self, avoid: Server | None) -> Server | None:
        """The least busy server, waited for; None when waiting has ended."""
        while not self.ended.is_set():
            server = self._free(avoid)
            if server:
                server.outstanding += 1
                if server.outstanding == 1:
                    server.last_sign = time.monotonic()
                return server
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self.parked += 1
            try:
                await turn
            finally:
                self.parked -= 1
        return None

    def give_back(self, server: Server) -> None:
        server.outstanding -= 1
        self._next()

    async def pause(self, seconds: float) -> None:
        """Wait, or until waiting has ended."""
        self.parked += 1
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.ended.wait(), seconds)
        finally:
            self.parked -= 1

    def end_waiting(self) -> None:
        self.ended.set()
        while self._waiting:
            self._next()

    def succeeded(self, server: Server) -> None:
        server.worked, server.failures, server.dead_looks = True, 0, 0
        server.failed.clear()
        server.last_sign = time.monotonic()
        if server.ejected:
            self._admit(server)

    def failed(self, server: Server, row: int, why: str, *, gone: bool = False) -> None:
        """An attempt failed there.

        Args:
            row: names the request.
            gone: nobody listens there.
        """
        server.failures += 1
        server.failed.add(row)
        server.said = why
        if gone or (server.failures >= EJECT_AFTER and len(server.failed) > 1):
            self._eject(server, why)

    def hold(self, server: Server, seconds: float) -> None:
        """Ask this server nothing for a while: it said so."""
        until = time.monotonic() + seconds
        if until > server.held_until:
            server.held_until = until
            asyncio.get_running_loop().call_later(seconds, self._all_next)

    def start_watching(self) -> None:
        """Look after every server until `stop_watching`."""
        self.ended.clear()
        self._out_since = None
        for server in self.servers:
            server.last_sign = time.monotonic()
            server.watch = asyncio.get_running_loop().create_task(self._watch(server))

    def stop_watching(self) -> list[asyncio.Task[None]]:
        """The tasks that end now."""
        tasks = [server.watch for server in self.servers if server.watch]
        for server, task in zip(self.servers, tasks, strict=True):
            task.cancel()
            server.watch = None
        return tasks

    def _free(self, avoid: Server | None) -> Server | None:
        now = time.monotonic()
        free = [
            s
            for s in self.servers
            if not s.ejected and s.outstanding < self.per_server and s.held_until <= now
        ]
        # One that failed just now comes last, however idle its failures make it look.
        return min(free, key=lambda s: (s is avoid, s.failures > 0, s.outstanding), default=None)

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _all_next(self) -> None:
        for _ in range(len(self._waiting)):
            self._next()

    def _eject(self, server: Server, why: str) -> None:
        if server.ejected:
            return
        server.ejected = True
        logger.warning(f"{server.shown} is set aside: {why}")
        if all(s.ejected for s in self.servers):
            self._out_since = time.monotonic()

    def _admit(self, server: Server) -> None:
        server.ejected, server.failures, server.dead_looks = False, 0, 0
        server.failed.clear()
        server.last_sign = time.monotonic()
        self._out_since = None
        logger.warning(f"{server.shown} answers again")
        self._all_next()

    async def _watch(self, server: Server) -> None:
        tried = 0
        while True:
            if server.ejected:
                await asyncio.sleep(min(self.patience.pause(tried + 1), self.patience.probe_s))
                tried += 1
                if await self._alive(server):
                    if server.ejected:
                        self._admit(server)
                else:
                    self._check_outage()
                continue
            tried = 0
            await asyncio.sleep(self.patience.look_s / 4)
            if server.outstanding and time.monotonic() - server.last_sign > self.patience.look_s:
                await self._look(server)

    async def _look(self, server: Server) -> None:
        """Whether a server that has been silent for a while still works."""
        before = server.counter
        server.counter = await self.tokens_generated(server)
        rose = before is not None and server.counter is not None and server.counter > before
        if rose or await self._alive(server):
            server.last_sign, server.dead_looks = time.monotonic(), 0
            return
        server.dead_looks += 1
        if server.dead_looks >= self.patience.dead_looks:
            self._eject(server, "it hangs: no token came out of it for a while")
            for task in list(server.tasks):
                self.stalled.add(task)
                task.cancel()
            self._check_outage()

    async def _alive(self, server: Server) -> bool:
        """A completed token, and a token counter (where there is one) that rose with it."""
        before = await self.tokens_generated(server)
        if not await self._probe(server):
            return False
        after = await self.tokens_generated(server)
        return before is None or after is None or after != before  # a counter that fell: it was restarted

    async def tokens_generated(self, server: Server) -> float | None:
        """The server's own counter; None where it has none."""
        if self._session is None:
            return None
        url = server.url.removesuffix("/v1") + "/metrics"
        try:
            timeout = aiohttp.ClientTimeout(total=self.patience.probe_s)
            async with self._session.get(url, timeout=timeout) as reply:
                if reply.status != 200:
                    return None
                found = COUNTER.findall(await reply.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return None
        return sum(map(float, found)) if found else None

    _session: aiohttp.ClientSession | None = None

    def with_session(self, session: aiohttp.ClientSession) -> Fleet:
        """The session by which counters are read."""
        self._session = session
        return self

    def _check_outage(self) -> None:
        if self._out_since is None or not all(server.ejected for server in self.servers):
            return
        worked = any(server.worked for server in self.servers)
        limit = self.patience.outage_s if worked else self.patience.first_answer_s
        if time.monotonic() - self._out_since > limit:
            said = next((server.said for server in self.servers if server.said), "nothing")
            self.fatal = ComponentFailed(
                f"no server has answered for {limit:.0f} seconds; the last said: {said}",
                where=", ".join(server.shown for server in self.servers),
                fix="look at the servers; finished samples are kept, the same command continues",
            )
            self.end_waiting()
