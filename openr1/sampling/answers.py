"""What is sent to an OpenAI-compatible server for one completion, and what its answer is."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from openr1.errors import OpenR1Error
from openr1.sampling.requests import Completion, Request, SamplingParams, ends_in_think

BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
"""Statuses that another attempt may mend; the last six are proxies' own."""
LENGTH = re.compile(
    r"context[ _]length|maximum context|max_model_len|max(imum)? (total )?(sequence )?length|max_tokens"
    r"|max_completion_tokens|max_new_tokens|too (long|many tokens)|context window|input tokens",
    re.IGNORECASE,
)
CONTEXT = re.compile(
    r"(?:context length|context window|max_model_len|maximum length|maximum sequence length)"
    r"(?: of the model)?(?: \([^)]*\))?\D{0,12}?(\d+)",
    re.IGNORECASE,
)
INPUT = re.compile(
    r"(\d+) (?:input tokens|tokens from the input|in the messages|prompt tokens)|prompt contains\D{0,20}(\d+)"
    r"|input(?: length)?\D{0,12}(\d+)",
    re.IGNORECASE,
)


class Refused(Exception):
    """The server will not complete this request, ever."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


class TooLong(Refused):
    """Prompt and completion together are longer than the server's context.

    `room` is what it leaves for the completion, where the server's words tell: below 1
    the prompt alone fills it.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(status, said)
        context, given = CONTEXT.search(said), INPUT.search(said)
        self.room: int | None = None
        if context and given:
            self.room = int(context[1]) - int(next(filter(None, given.groups())))


class TryAgain(Exception):
    """This attempt failed in a way that another may not.

    Args:
        kind: as in `requests.Failure`.
        gone: nobody listens at the server's address.
    """

    def __init__(self, kind: str, said: str, status: int | None = None, gone: bool = False) -> None:
        super().__init__(said)
        self.kind, self.said, self.status, self.gone = kind, said, status, gone


class Wait(TryAgain):
    """The server wants to be left alone for a while; `seconds` is None where it does not say how long."""

    def __init__(self, status: int, said: str, seconds: float | None) -> None:
        super().__init__("rate limited", said, status)
        self.seconds = seconds


def check_status(status: int, said: str, headers: Mapping[str, str]) -> None:
    """Raises what a status other than 200 means."""
    words = f"status {status} {said}"[:300].strip()
    after = retry_after(headers.get("Retry-After"))
    if status == 429 or (status == 503 and after is not None):
        raise Wait(status, words, after)
    if status in BUSY or status >= 500:
        raise TryAgain("server error", words, status)
    if status in (400, 413, 422) and LENGTH.search(said):
        raise TooLong(status, said[:500])
    if status != 200:
        raise Refused(status, said[:300])


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def request_body(
    model: str, request: Request, params: SamplingParams, prefilled: bool | None, limit: int
) -> tuple[str, dict[str, Any], bool]:
    """Path and body of one request for `limit` tokens, and whether its prompt ends inside a `<think>`."""
    body: dict[str, Any] = {
        "model": model,
        "temperature": params.temperature,
        "top_p": params.top_p if params.temperature > 0 else 1.0,
        "max_tokens": limit,
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


def read_answer(data: bytes, opened: bool) -> tuple[Completion, bool]:
    """The completion in an answer's bytes, and whether the server counted its tokens.

    The reasoning may be in a field of its own (`reasoning`, or `reasoning_content` of older servers), or in
    the text between tags, of which the first may be missing: the chat template had written it.

    Args:
        opened: the prompt ended inside a `<think>`.

    Raises:
        TryAgain: it is no completion: not JSON, no text, or no end.
    """
    try:
        answer = json.loads(data)
        choice = answer["choices"][0]
        message = choice.get("message")
        usage = answer.get("usage") or {}
        thought = None
        if message is None:
            text = choice["text"]
        else:
            text = message.get("content")
            thought = message.get("reasoning") or message.get("reasoning_content")
        finish = choice.get("finish_reason")
        tokens, prompt_tokens = usage.get("completion_tokens"), usage.get("prompt_tokens")
        tokens = None if tokens is None else int(tokens)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        start = " ".join(data[:80].decode("utf-8", "replace").split())
        raise TryAgain(
            "bad answer", f"an answer without a completion ({type(error).__name__}): {start}"
        ) from error
    if text is None and not thought and (tokens is None or tokens > 1):
        raise TryAgain("bad answer", f"an answer without text (content is null, {tokens} tokens)")
    if not isinstance(text or "", str) or not isinstance(thought or "", str):
        raise TryAgain("bad answer", "an answer whose text is no text")
    if finish in (None, "abort", "error"):
        raise TryAgain("bad answer", f"the answer was not brought to its end (finish reason: {finish})")
    if finish == "content_filter":
        raise Refused(200, "the server's content filter ended the answer")
    text = text or ""
    if thought:
        close = "\n</think>\n" if text or finish == "stop" else ""
        text, opened = f"<think>\n{thought}{close}{text}", False
    elif "</think>" in text and "<think>" not in text:
        opened = True
    identity = answer.get("id")
    return (
        Completion(
            text,
            tokens or 0,
            str(finish),
            opened,
            prompt_tokens=prompt_tokens if isinstance(prompt_tokens, int) else None,
            request_id=str(identity) if identity is not None else None,
        ),
        tokens is not None,
    )


def no_entry(shown: str, status: int) -> OpenR1Error:
    """What 401 and 403 mean before the server ever answered."""
    from openr1.errors import EnvironmentProblem

    return EnvironmentProblem(
        f"the server wants a key (status {status})", where=shown, fix="set OPENAI_API_KEY"
    )
