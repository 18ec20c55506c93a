"""OpenAI-compatible servers: what is asked, which one is asked, and every way in which they fail."""

from __future__ import annotations

from typing import Any

import pytest

from openr1.errors import ComponentFailed, EnvironmentProblem, RecipeError
from openr1.sampling.fleet import Patience
from openr1.sampling.requests import Completion, Failure, Request, SamplingParams, units_of
from openr1.sampling.server_backend import ServerSampler
from tests.sampling.fake_server import serving

FAST = Patience().scaled(0.01)
PARAMS = SamplingParams(0.6, 0.95, None, 32, 7)


def asked(count: int, prefill: str = "") -> list[Request]:
    return [Request(i, 0, ({"role": "user", "content": f"q{i}"},), "t", prefill) for i in range(count)]


def ask(
    urls: list[str], requests: list[Request], model: str | None = None, **kwargs: Any
) -> dict[int, Completion]:
    sampler = ServerSampler(urls, model, patience=kwargs.pop("patience", FAST), **kwargs)
    try:
        found = {}
        for unit, (outcome,) in sampler.run(units_of(requests, 1), PARAMS):
            if isinstance(outcome, Failure):
                raise outcome.error()
            found[unit.requests[0].row] = outcome
        return found
    finally:
        sampler.close()


def echo(body: dict[str, Any]) -> dict[str, Any]:
    return {"text": "re " + body["messages"][-1]["content"]}


def test_a_request_and_its_completion() -> None:
    with serving(lambda body: {"text": "x", "tokens": 9, "finish": "length"}) as server:
        found = ask([server.url], asked(1))
    assert found == {0: Completion("x", 9, "length")}
    (body,) = server.asked
    assert body["model"] == "tiny"
    assert body["messages"] == [{"role": "user", "content": "q0"}]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.6, 0.95, 32)
    assert body["seed"] == asked(1)[0].seed(PARAMS)
    assert "top_k" not in body


def test_the_least_busy_server_is_asked() -> None:
    with serving(echo, delay=0.2) as slow, serving(echo, delay=0.005) as fast:
        found = ask([slow.url, fast.url], asked(40), per_server=2)
    assert len(found) == 40
    assert len(fast.asked) > 2 * len(slow.asked) > 0
    assert slow.most_at_once <= 4 and fast.most_at_once <= 4


def test_what_fails_once_is_asked_again_and_nothing_is_lost() -> None:
    seen: set[str] = set()

    def moody(body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][-1]["content"]
        if text not in seen:
            seen.add(text)
            return {"status": 503 if text.endswith(("0", "2", "4")) else 429}
        return echo(body)

    with serving(moody) as server:
        found = ask([server.url], asked(6))
    assert {row: c.text for row, c in found.items()} == {i: f"re q{i}" for i in range(6)}
    assert len(server.asked) == 12


def test_one_dead_server_of_two_costs_nothing_but_time() -> None:
    with serving(lambda body: {"status": 500}) as dead, serving(echo) as good:
        found = ask([dead.url, good.url], asked(8))
    assert len(found) == 8
    assert len(good.asked) == 8


@pytest.mark.parametrize("said", [{"status": 500, "body": "cuda error"}, {"status": 200, "body": "not json"}])
def test_a_server_that_always_fails_is_named_with_what_it_said(said: dict[str, Any]) -> None:
    with serving(lambda body: said) as server, pytest.raises(ComponentFailed) as caught:
        ask([server.url], asked(1))
    assert "no server gave an answer in 6 attempts" in caught.value.what
    assert server.url in str(caught.value.where)
    assert "the same command continues" in str(caught.value.fix)
    if said["status"] == 500:
        assert "cuda error" in caught.value.what


def test_a_server_that_says_nothing_is_given_up() -> None:
    with (
        serving(lambda body: {"silent": True}) as server,
        pytest.raises(ComponentFailed, match="no server gave an answer"),
    ):
        ask([server.url], asked(1), timeout_s=0.05)


def test_another_models_name() -> None:
    with serving(echo, models=("other", "third")) as server:
        with pytest.raises(RecipeError) as caught:
            ask([server.url], asked(1), "mine")
        assert "does not serve `mine`; it serves other, third" in caught.value.what
        assert "--model other" in str(caught.value.fix)
        with pytest.raises(RecipeError, match="which model"):
            ask([server.url], asked(1))
        assert len(ask([server.url], asked(1), "third")) == 1
    with (
        serving(echo, models=("a",)) as one,
        serving(echo, models=("b",)) as two,
        pytest.raises(RecipeError, match="which model"),
    ):
        ask([one.url, two.url], asked(1))


@pytest.mark.parametrize("status", [500, 401])
def test_a_server_that_lists_no_models(status: int) -> None:
    with serving(echo, models_status=status) as server, pytest.raises(EnvironmentProblem) as caught:
        ask([server.url], asked(1))
    assert ("OPENAI_API_KEY" if status == 401 else "status 500") in f"{caught.value.what} {caught.value.fix}"


def test_nobody_is_there_and_no_address() -> None:
    with pytest.raises(EnvironmentProblem, match="does not answer"):
        ask(["http://127.0.0.1:9"], asked(1))
    with pytest.raises(RecipeError, match="no server's address"):
        ask(["ftp://x"], asked(1))


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        ask(["http://me:secret@127.0.0.1:9"], asked(1))
    assert "secret" not in f"{caught.value.what}{caught.value.where}"


def test_a_refused_request_is_not_repeated() -> None:
    with serving(lambda body: {"status": 400, "body": "top_k is unknown"}) as server:
        with pytest.raises(RecipeError, match="top_k is unknown"):
            ask([server.url], asked(1))
        assert len(server.asked) == 1


def test_reasoning_that_is_handed_out_apart_becomes_one_text() -> None:
    with serving(lambda body: {"text": "42", "reasoning": "6 by 7"}) as server:
        assert ask([server.url], asked(1))[0].text == "<think>\n6 by 7\n</think>\n42"
    with serving(lambda body: {"text": None, "reasoning": "6 by", "finish": "length"}) as server:
        cut = ask([server.url], asked(1))[0]
    assert (cut.text, cut.think_prefilled) == ("<think>\n6 by", False)


def test_a_template_that_opens_think_is_noticed_and_one_that_does_not_is_helped() -> None:
    with serving(echo, prompt="<user>1<assistant><think>\n", context=100) as server:
        found = ask([server.url], asked(1, "<think>\n"))
        assert found[0].think_prefilled
        assert server.asked[0]["messages"][-1]["role"] == "user"  # the template has written it
        sampler = ServerSampler([server.url], None)
        assert sampler.context == 100
        assert sampler.prompt_lengths(asked(2)) == [2, 2]
        sampler.close()
    with serving(echo, prompt="<user>1<assistant>") as server:
        assert ask([server.url], asked(1, "<think>\n"))[0].think_prefilled
        body = server.asked[0]
        assert body["messages"][-1] == {"role": "assistant", "content": "<think>\n"}
        assert body["continue_final_message"] and not body["add_generation_prompt"]


def test_a_key_is_sent_and_greedy_says_no_top_p(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    with serving(echo) as server:
        sampler = ServerSampler([server.url], None)
        assert sampler._session.headers["Authorization"] == "Bearer sk-1"
        greedy = SamplingParams(0.0, 0.5, 9, 4, 1)
        list(sampler.run(units_of(asked(1), 1), greedy))
        sampler.close()
    assert server.asked[0]["top_p"] == 1.0


def test_a_server_without_usage_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with serving(lambda body: {"text": "x", "tokens": None}) as server:
        assert ask([server.url], asked(3))[2].tokens == 0
    assert caplog.text.count("counts no tokens") == 1
