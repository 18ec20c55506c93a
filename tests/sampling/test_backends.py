"""One way in, one format out: transformers, several processes, vLLM, and vLLM's own server."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openr1.data.tiny_model import ModelSpec, build_tiny_model
from openr1.errors import OpenR1Error, RecipeError
from openr1.sampling.backend import Engine, Sampler
from openr1.sampling.draw import draw
from openr1.sampling.ledger import Ledger
from openr1.sampling.pool import EnginePool
from openr1.sampling.requests import (
    Completion,
    Failure,
    Request,
    SamplingParams,
    completed,
    units_of,
)
from openr1.sampling.server_backend import ServerSampler
from openr1.sampling.weights import model_fingerprint, weights_signature

GREEDY = SamplingParams(0.0, 1.0, None, 12, 3)
WARM = SamplingParams(1.0, 0.95, None, 12, 3)
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    build_tiny_model(ModelSpec(1, 64), 7, folder)
    return str(folder)


def requests(problems: int = 6, samples: int = 2) -> list[Request]:
    return [
        Request(i, j, ({"role": "user", "content": f"Start at {i}, keep the last digit: a+3"},), "t")
        for i in range(problems)
        for j in range(samples)
    ]


def drawn(sampler: Sampler, params: SamplingParams) -> dict[tuple[int, int], Completion]:
    units = units_of(requests(), sampler.unit_size)
    return {
        (request.row, request.index): completion
        for unit, outcomes in sampler.run(iter(units), params)
        for request, completion in zip(unit.requests, completed(outcomes), strict=True)
    }


@pytest.mark.slow
def test_two_processes_draw_what_one_does_and_survive_a_kill(model: str, tmp_path: Path) -> None:
    engine = Engine("transformers", model, dtype="float32", batch_size=4)
    alone = engine.open()
    pool = EnginePool(engine, [ONE_THREAD, ONE_THREAD])
    victim = pool.workers[0].process
    assert victim is not None

    def kill_once(done: int, tokens: int, seconds: float) -> None:
        if done == 4:
            os.kill(victim.pid, signal.SIGKILL)

    try:
        assert (pool.fingerprint, pool.context, pool.unit_size) == (alone.fingerprint, 512, 4)
        assert pool.prompt_lengths(requests()[:2]) == alone.prompt_lengths(requests()[:2])
        assert drawn(pool, GREEDY) == drawn(alone, GREEDY)
        # The same batches from the same seeds; what the killed engine held is drawn by another.
        found = draw(pool, requests(40), WARM, Ledger(tmp_path / "l.jsonl"), on_batch=kill_once)
        assert pool.workers[0].deaths == 1
        expected = draw(alone, requests(40), WARM, Ledger(tmp_path / "m.jsonl"), on_batch=lambda *_: None)
    finally:
        pool.close()
    assert [r["text"] for r in found.rows] == [r["text"] for r in expected.rows]
    assert len({r["key"] for r in found.rows}) == 80


def test_an_engine_that_cannot_load_says_why(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(OpenR1Error, match="no model that can be loaded"):
        EnginePool(Engine("transformers", str(tmp_path)), [ONE_THREAD])


def test_a_model_without_a_chat_template(model: str, tmp_path: Path) -> None:
    import shutil

    base = tmp_path / "base"
    shutil.copytree(model, base)
    (base / "chat_template.jinja").unlink()
    with pytest.raises(RecipeError) as caught:
        drawn(Engine("transformers", str(base), dtype="float32").open(), GREEDY)
    assert "no chat template" in caught.value.what
    assert "--chat_template FILE" in str(caught.value.fix)
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    given = Engine("transformers", str(base), dtype="float32", chat_template=str(template)).open()
    assert len(drawn(given, GREEDY)) == 12


def test_a_context_can_be_made_shorter_and_stops_end_an_answer(model: str) -> None:
    sampler = Engine("transformers", model, dtype="float32", max_model_length=100).open()
    assert sampler.context == 100
    whole = drawn(sampler, GREEDY)[2, 0].text
    stop = whole[3:5]
    request = Request(2, 0, requests()[4].messages, "t", stop=(stop,))
    ((_, outcomes),) = sampler.run(units_of([request], 1), GREEDY)
    (cut,) = completed(outcomes)
    assert cut.text == whole[: whole.find(stop)]
    assert cut.finish_reason == "stop"
    assert cut.tokens < 12


CONTEXT = 64
LONG = "Start at 1, keep the last digit: " + "a+3, " * 40
ODD = "{% if 'odd' in messages[0]['content'] %}{{ raise_exception('no such word') }}{% endif %}"
ODD += "{{ messages[0]['content'] }}"


def beside_others() -> list[Request]:
    """Three short prompts; between them one that fills the context, one that nearly does, one not allowed."""
    texts = ["Start at 1", LONG, "Start at 2", "odd", LONG[:90], "Start at 3"]
    return [Request(n, 0, ({"role": "user", "content": text},), "t") for n, text in enumerate(texts)]


def check_set_aside(sampler: Sampler) -> None:
    """Failures by name, a shorter limit where the context leaves less, and the others as without them."""
    params = SamplingParams(0.0, 1.0, None, 40, 3)
    shorts = [beside_others()[0], beside_others()[2]]
    alone = [c for _, some in sampler.run(units_of(shorts, sampler.unit_size), params) for c in some]
    found = {}
    for unit, outcomes in sampler.run(units_of(beside_others(), sampler.unit_size), params):
        found |= {r.row: outcome for r, outcome in zip(unit.requests, outcomes, strict=True)}
    long, odd = found[1], found[3]
    assert isinstance(long, Failure) and (long.kind, long.attempts) == ("too long", 1)
    assert f"the model's context {CONTEXT}" in long.reason and "tokens" in long.reason
    assert isinstance(odd, Failure) and odd.kind == "refused" and "no such word" in odd.reason
    near = found[4]
    (length,) = sampler.prompt_lengths([beside_others()[4]])
    assert isinstance(near, Completion) and near.limit == CONTEXT - length
    assert near.tokens <= near.limit and near.finish_reason in ("length", "stop")
    assert [found[0], found[2]] == alone
    assert all(c.limit is None for c in alone if isinstance(c, Completion))


def test_what_a_local_model_cannot_draw_is_set_aside_by_name(model: str) -> None:
    engine = Engine(
        "transformers", model, dtype="float32", batch_size=8, max_model_length=CONTEXT, chat_template=ODD
    )
    alone = engine.open()
    (length,) = alone.prompt_lengths([beside_others()[4]])
    assert CONTEXT - 40 < length < CONTEXT, "the test's own prompt"
    check_set_aside(alone)
    pool = EnginePool(engine, [ONE_THREAD])
    try:
        check_set_aside(pool)
    finally:
        pool.close()
    with pytest.raises(RecipeError, match="leaves no room"):
        completed(alone.complete(beside_others()[1:2], GREEDY, 0))


@needs_vllm
@pytest.mark.slow
def test_what_vllm_cannot_draw_is_set_aside_by_name(model: str) -> None:
    engine = Engine("vllm", model, dtype="float32", max_model_length=CONTEXT, chat_template=ODD)
    pool = EnginePool(engine, [ONE_THREAD])
    try:
        check_set_aside(pool)
    finally:
        pool.close()


def test_a_template_that_begins_with_bos_gets_no_second_one(model: str) -> None:
    """C13: the DeepSeek distills' template writes the BOS; tokenising with special tokens adds another."""
    sampler = Engine(
        "transformers", model, dtype="float32", chat_template="<|endoftext|>{{ messages[0]['content'] }}"
    )
    from openr1.sampling.transformers_backend import TransformersSampler

    opened = sampler.open()
    assert isinstance(opened, TransformersSampler)
    tokenizer = opened.tokenizer
    tokenizer.bos_token = "<|endoftext|>"
    (ids,) = opened.prompts.ids(requests()[:1])
    assert ids.count(tokenizer.bos_token_id) == 1


def test_weights_have_names(model: str, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    name, signature = model_fingerprint(str(copy)), weights_signature(str(copy))
    assert name == model_fingerprint(model)
    assert signature != weights_signature(model)  # another place
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1  # one bit, the same size
    weights.write_bytes(data)
    assert model_fingerprint(str(copy)) != name
    assert weights_signature(str(copy)) != signature
    assert model_fingerprint("owner/name", "abcdef0123456789") == "owner/name@abcdef012345"
    assert weights_signature("owner/name") is None


@needs_vllm
def test_vllm_gives_the_greedy_answers_of_transformers(model: str) -> None:
    """In a process of its own, as in a run: what vLLM changes in its process stays there."""
    expected = drawn(Engine("transformers", model, dtype="float32").open(), GREEDY)
    pool = EnginePool(Engine("vllm", model, dtype="float32", max_model_length=128), [ONE_THREAD])
    try:
        assert (pool.unit_size, pool.context) == (1, 128)
        assert drawn(pool, GREEDY) == expected
        warm = drawn(pool, WARM)
        assert warm == drawn(pool, WARM)  # every sample has a seed of its own
        assert warm[0, 0] != warm[0, 1]
    finally:
        pool.close()


@needs_vllm
@pytest.mark.slow
def test_two_vllm_engines_draw_what_one_does(model: str) -> None:
    engine = Engine("vllm", model, dtype="float32", max_model_length=128)
    found = []
    for environments in ([ONE_THREAD], [ONE_THREAD, ONE_THREAD]):
        pool = EnginePool(engine, environments)
        try:
            found.append((drawn(pool, GREEDY), drawn(pool, WARM)))
        finally:
            pool.close()
    assert found[0] == found[1]


@needs_vllm
@pytest.mark.slow
def test_a_served_vllm_gives_the_same_greedy_answers(model: str) -> None:
    with served(model) as port:
        sampler = ServerSampler([f"127.0.0.1:{port}"], "tiny")
        try:
            assert sampler.context == 128
            alone = Engine("transformers", model, dtype="float32").open()
            assert sampler.prompt_lengths(requests()[:3]) == alone.prompt_lengths(requests()[:3])
            # The server holds back bytes that make no whole character, as random weights write them.
            assert whole_characters(drawn(sampler, GREEDY)) == whole_characters(drawn(alone, GREEDY))
            assert drawn(sampler, WARM) == drawn(sampler, WARM)
        finally:
            sampler.close()


@contextmanager
def served(model: str) -> Iterator[int]:
    """vLLM's own server for a model, as `tiny`; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        model,
        "--dtype",
        "float32",
    ]
    command += [
        "--served-model-name",
        "tiny",
        "--port",
        str(port),
        "--max-model-len",
        "128",
        "--enforce-eager",
    ]
    env = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", **ONE_THREAD}
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models", server)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=60)


def whole_characters(found: dict[tuple[int, int], Completion]) -> dict[tuple[int, int], tuple[object, ...]]:
    return {key: (c.text.replace("\ufffd", ""), c.tokens, c.finish_reason) for key, c in found.items()}


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the server did not start")
