"""`python -m openr1.sampling.engine`: one engine in a process of its own, driven by `pool` over two pipes.

In on stdin, JSON lines: {"open": Engine}, then {"params": …}, {"unit": …}, {"end": true}, {"lengths": […]}.
Out on the pipe OPENR1_ENGINE_FD: {"ready": …}, {"unit": n, "outcomes": [{"Completion": …}, {"Failure": …}]},
{"ended": true}, {"lengths": […]}, {"error": …}.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from openr1.runs.child import die_with_parent, explain
from openr1.runs.files import clean
from openr1.sampling.backend import Engine, Sampler
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, Unit

VARIABLE = "OPENR1_ENGINE_FD"
GLANCE_S = 0.002  # how long a look at the pipe may take while answers are being drawn


def main() -> int:
    """Open what the first line names, then work until stdin closes."""
    die_with_parent()
    out = os.fdopen(int(os.environ[VARIABLE]), "w", encoding="utf-8", buffering=1)

    def send(message: dict[str, Any]) -> None:
        out.write(json.dumps(clean(message)) + "\n")

    inbox: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_read, args=(inbox,), daemon=True).start()
    try:
        first = inbox.get()
        if first is None:
            return 0
        sampler = Engine(**first["open"]).open()
        send({"ready": {k: getattr(sampler, k) for k in ("device", "fingerprint", "context", "unit_size")}})
        while (message := inbox.get()) is not None:
            if "lengths" in message:
                send({"lengths": sampler.prompt_lengths([request_from(r) for r in message["lengths"]])})
            elif "params" in message:
                _run(sampler, SamplingParams(**message["params"]), inbox, send)
    except BaseException as error:
        traceback.print_exc()
        send({"error": explain(error).as_dict()})
        return 1
    sampler.close()
    return 0


def _read(inbox: queue.Queue[dict[str, Any] | None]) -> None:
    for line in sys.stdin:
        inbox.put(json.loads(line))
    inbox.put(None)


def _run(
    sampler: Sampler, params: SamplingParams, inbox: queue.Queue[dict[str, Any] | None], send: Any
) -> None:
    """Draw units as they come until the pool says that there are no more."""

    def units() -> Iterator[Unit | None]:
        while True:
            try:
                message = inbox.get(timeout=GLANCE_S)
            except queue.Empty:
                yield None
                continue
            if message is None:
                raise SystemExit(0)  # the pool is gone
            if "end" in message:
                return
            yield unit_from(message["unit"])

    for unit, completions in sampler.run(units(), params):
        send({"unit": unit.number, "outcomes": [as_fields(c) for c in completions]})
    send({"ended": True})


def as_fields(outcome: Completion | Failure) -> dict[str, Any]:
    """A completion or a failure as JSON, under the name of its type."""
    return {type(outcome).__name__: outcome.as_dict()}


def outcome_from(fields: dict[str, Any]) -> Completion | Failure:
    """What `as_fields` made."""
    return Completion(**fields["Completion"]) if "Completion" in fields else Failure(**fields["Failure"])


def request_from(fields: dict[str, Any]) -> Request:
    """A request out of JSON."""
    return Request(
        **{**fields, "messages": tuple(fields["messages"]), "stop": tuple(fields["stop"])},
    )


def unit_from(fields: dict[str, Any]) -> Unit:
    """A unit out of JSON."""
    return Unit(fields["number"], tuple(request_from(r) for r in fields["requests"]))


if __name__ == "__main__":
    raise SystemExit(main())
