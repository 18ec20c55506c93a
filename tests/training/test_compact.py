"""Rollouts that drop finished rows: the same completions where nothing is drawn, the same law where it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

from openr1.data.tiny_model import ModelSpec, build_tiny_model
from openr1.sampling import compact

ENDS = list(range(4, 20))  # so many tokens end a row that rows end all the time
PADDING = 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("compact") / "model"
    build_tiny_model(ModelSpec(layers=2, hidden=64), 0, folder)
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture(scope="module")
def prompts() -> dict[str, torch.Tensor]:
    ids = torch.randint(20, 250, (48, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    for row in range(len(ids)):
        mask[row, : row % 5] = 0  # left padding, as GRPO's prompts have it
    return {"input_ids": ids, "attention_mask": mask}


def complete(model: Any, prompts: dict[str, torch.Tensor], drop: bool, **more: Any) -> torch.Tensor:
    config = GenerationConfig(max_new_tokens=40, eos_token_id=ENDS, pad_token_id=PADDING, **more)
    torch.manual_seed(1)
    if not drop:
        return model.generate(**prompts, generation_config=config)
    with compact.dropping_finished_rows(model):
        return model.generate(**prompts, generation_config=config)


def test_greedy_completions_are_the_same(
    model: Any, prompts: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = []
    select = DynamicCache.batch_select_indices
    watched = lambda self, rows: (drops.append(len(rows)), select(self, rows))  # noqa: E731
    monkeypatch.setattr(DynamicCache, "batch_select_indices", watched)
    asked = {"do_sample": False, "repetition_penalty": 3.0}  # random weights would repeat one token for ever
    stock = complete(model, prompts, drop=False, **asked)
    assert not drops
    assert torch.equal(complete(model, prompts, drop=True, **asked), stock)
    assert drops == sorted(drops, reverse=True)
    assert len(drops) > 1


def test_sampled_lengths_follow_the_same_law(model: Any, prompts: dict[str, torch.Tensor]) -> None:
    """Lengths are nearly geometric; the two means lie within 4 standard errors."""
    many = {key: value.repeat(20, 1) for key, value in prompts.items()}

    def lengths(drop: bool) -> torch.Tensor:
        new = complete(model, many, drop, do_sample=True)[:, 12:]
        return new.ne(PADDING).sum(dim=1).float()

    stock, ours = lengths(False), lengths(True)
    error = (stock.var() / len(stock) + ours.var() / len(ours)).sqrt()
    assert abs(stock.mean() - ours.mean()) < 4 * error
    assert torch.equal(lengths(True), ours)  # and from the same seed come the same draws


def test_generate_is_what_it_was_afterwards(model: Any) -> None:
    def own(*args: Any, **kwargs: Any) -> None: ...

    before = model.generate
    with compact.dropping_finished_rows(model):
        assert model.generate != before
    assert model.generate == before
    model.generate = own
    with compact.dropping_finished_rows(model):
        pass
    assert model.generate is own
    del model.generate


def test_what_the_loop_does_not_know_goes_to_transformers(
    model: Any, prompts: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "_plain", lambda *_: False)
    stock = complete(model, prompts, drop=False, do_sample=True)
    assert torch.equal(complete(model, prompts, drop=True, do_sample=True), stock)
    monkeypatch.undo()
    asked = {"do_sample": False, "return_dict_in_generate": True}
    assert complete(model, prompts, drop=True, **asked).sequences.shape[0] == 48  # type: ignore[attr-defined]
