"""A checkpoint counts when it is whole, and never disappears before a newer one is."""

from __future__ import annotations

from pathlib import Path

from openr1.training.checkpoints import SEAL, by_step, is_whole, newest_whole, rotate, seal, step_of


def make(folder: Path, step: int, sealed: bool = True) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "sub").mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"w" * 1000)
    (checkpoint / "sub" / "state.pt").write_bytes(b"s" * 10)
    if sealed:
        seal(checkpoint)
    return checkpoint


def test_a_cut_off_checkpoint_is_not_used(tmp_path: Path) -> None:
    whole = make(tmp_path, 4)
    unsealed = make(tmp_path, 8, sealed=False)
    cut = make(tmp_path, 12)
    (cut / "model.safetensors").write_bytes(b"w" * 999)
    lost = make(tmp_path, 16)
    (lost / "sub" / "state.pt").unlink()
    garbled = make(tmp_path, 20)
    (garbled / SEAL).write_text("{")
    assert newest_whole(tmp_path) == (whole, [garbled, lost, cut, unsealed])


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert newest_whole(tmp_path / "none") == (None, [])
    make(tmp_path, 3, sealed=False)
    assert newest_whole(tmp_path)[0] is None


def test_steps_are_numbers_not_text(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        make(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    assert [step_of(c) for c in by_step(tmp_path)] == [9, 10, 100]


def test_rotation_keeps_the_newest_whole_ones(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        make(tmp_path, step)
    make(tmp_path, 4, sealed=False)
    removed = [c.name for c in rotate(tmp_path, 2)]
    assert removed == ["checkpoint-1"]
    assert [step_of(c) for c in by_step(tmp_path)] == [2, 3, 4]
    assert is_whole(tmp_path / "checkpoint-3")


def test_broken_ones_older_than_a_whole_one_go_too(tmp_path: Path) -> None:
    make(tmp_path, 1, sealed=False)
    make(tmp_path, 2)
    assert [c.name for c in rotate(tmp_path, None)] == ["checkpoint-1"]
    assert [c.name for c in rotate(tmp_path, None)] == []
