"""Workers: order, kills, replacement, recycling, memory, and no survivors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from openr1.errors import ComponentFailed, EnvironmentProblem
from openr1.grading import Grader, Item, Verdict, default_workers
from openr1.grading import pool as pool_module

pytest.importorskip("math_verify")
ROOT = Path(__file__).parents[2]
HARD = r"\boxed{\int_0^1 \frac{\sin(x^3) e^{x^2}}{\ln(2+x^5)} dx}"


def run_python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        timeout=120,
        check=False,
    )


def test_plain_answers_need_no_worker_and_no_math_verify() -> None:
    done = run_python(
        r"""
        import sys
        sys.modules["math_verify"] = None
        from openr1.grading import Grader, Item
        with Grader() as g:
            r = g.grade([Item("6", r"\boxed{6}"), Item("6", r"\boxed{7}"), Item("1/2", "0.5"), Item("6", "")])
            print([x.verdict.value for x in r], g.worker_pids)
        heavy = {"torch", "sympy", "numpy", "transformers", "latex2sympy2_extended"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    assert done.stdout.strip() == "['right', 'wrong', 'right', 'no_answer'] []", done.stderr


def test_workers_do_not_import_torch_or_the_callers_main(tmp_path: Path) -> None:
    """A trainer's script has no `if __name__` guard; importing it again in a worker would start it twice."""
    script = tmp_path / "trainer.py"
    script.write_text(
        "print('started')\n"
        "from openr1.grading import Grader\n"
        "g = Grader(workers=1)\n"
        "print(g.grade_one('x+1', r'\\boxed{1+x}').verdict.value)\n"
        "maps = open(f'/proc/{g.worker_pids[0]}/maps').read()\n"
        "print('torch' in maps)\n"
        "g.close()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["started", "right", "False"], done.stderr


def test_a_file_named_like_a_library_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sympy.py").write_text("raise SystemExit('imported the wrong sympy')")
    monkeypatch.chdir(tmp_path)
    with Grader(workers=1) as grader:
        assert grader.grade_one("x+1", r"\boxed{1+x}").verdict is Verdict.right


def test_results_in_order_with_kills_between() -> None:
    """Two hangs among twenty: both are timeouts, everything else is right, and in order."""
    items = [Item(f"x+{i}", rf"\boxed{{{i}+x}}") for i in range(20)]
    items[3] = items[11] = Item("7", HARD)
    with Grader(workers=2, limit=1.0, cache=False) as grader:
        started = time.monotonic()
        graded = grader.grade(items)
        took = time.monotonic() - started
    assert [g.verdict for g in graded] == [
        Verdict.timeout if i in (3, 11) else Verdict.right for i in range(20)
    ]
    assert grader.killed == 2
    assert all(g.seconds < 1.5 for g in graded)
    assert took < 30


def test_cache_shares_a_verdict_and_off_means_off() -> None:
    items = [Item("x+1", r"\boxed{1+x}")] * 3
    with Grader(workers=1) as grader:
        assert [g.seconds > 0 for g in grader.grade(items)] == [True] * 3
        pids = grader.worker_pids
        grader.close()
        assert grader.grade_one("x+1", r"\boxed{1+x}").verdict is Verdict.right
        assert pids and grader.worker_pids == []


def test_a_timeout_is_remembered() -> None:
    with Grader(workers=1, limit=0.7) as grader:
        verdicts = [g.verdict for g in grader.grade([Item("7", HARD)] * 5)]
        assert verdicts == [Verdict.timeout] * 5
        assert grader.killed == 1


def test_recycling_keeps_results() -> None:
    with Grader(workers=1, recycle_after=2, cache=False) as grader:
        graded = grader.grade([Item(f"x+{i}", rf"\boxed{{{i}+x}}") for i in range(5)])
    assert {g.verdict for g in graded} == {Verdict.right}


def test_close_is_final_for_processes_but_not_for_the_grader() -> None:
    with Grader(workers=1) as grader:
        grader.grade_one("x+1", r"\boxed{1+x}")
        (pid,) = grader.worker_pids
    assert not Path(f"/proc/{pid}").exists()
    assert grader.grade_one("y+1", r"\boxed{1+y}").verdict is Verdict.right
    grader.close()


def test_a_worker_that_dies_is_an_error_not_a_score() -> None:
    with Grader(workers=1, cache=False) as grader:
        grader.grade_one("x+1", r"\boxed{1+x}")
        (pid,) = grader.worker_pids
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        # noticed while idle or with the item in hand; either way the next one is judged
        assert grader.grade_one("x+2", r"\boxed{2+x}").verdict in (Verdict.right, Verdict.error)
        assert grader.grade_one("x+3", r"\boxed{3+x}").verdict is Verdict.right


def test_memory_is_limited() -> None:
    """A worker with too little memory to start is a failure said aloud, not a wrong answer."""
    with Grader(workers=1, memory_mb=60) as grader, pytest.raises((ComponentFailed, EnvironmentProblem)):
        grader.grade_one("x+1", r"\boxed{1+x}")


def test_missing_math_verify_names_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Grader(workers=1) as grader, pytest.raises(EnvironmentProblem) as problem:
        grader.grade_one("x+1", r"\boxed{1+x}")
    assert "pip install" in str(problem.value.fix)


def test_workers_that_never_start_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "START_S", 0.01)
    with Grader(workers=1) as grader, pytest.raises(ComponentFailed):
        grader.grade_one("x+1", r"\boxed{1+x}")


def test_no_survivor_after_kill_9_of_the_parent() -> None:
    """Busy or idle, a worker ends with its parent."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(
            rf"""
            import threading
            from openr1.grading import Grader, Item
            g = Grader(workers=2, limit=60)
            g.grade([Item(f"x+{{i}}", rf"\boxed{{{{{{i}}+x}}}}") for i in range(4)])
            print(*g.worker_pids, flush=True)
            g.grade([Item("7", r"{HARD}")])
            """
        )],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert parent.stdout is not None
    pids = [int(p) for p in parent.stdout.readline().split()]
    assert pids
    time.sleep(1.0)  # the hard one is under way
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_alive(p) for p in pids):
        time.sleep(0.1)
    assert not any(_alive(p) for p in pids)


def _alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_forked_child_leaves_its_parents_workers_alone() -> None:
    done = run_python(
        r"""
        import os, sys
        from openr1.grading import Grader
        g = Grader(workers=1)
        g.grade_one("x+1", r"\boxed{1+x}")
        if os.fork() == 0:
            ok = g.grade_one("x+2", r"\boxed{2+x}").right
            g.close()
            os._exit(0 if ok else 1)
        status = os.wait()[1]
        print(status, g.grade_one("x+3", r"\boxed{3+x}").verdict.value)
        """
    )
    assert done.stdout.strip() == "0 right", done.stderr


def test_workers_per_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cores = default_workers()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert default_workers() == 1 <= cores
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "nonsense")
    assert default_workers() == cores


def test_usable_off_the_main_thread(grader: Grader) -> None:
    """math-verify alone scores a right answer 0 there."""
    import threading

    seen: list[Verdict] = []
    threads = [
        threading.Thread(
            target=lambda i=i: seen.append(grader.grade_one(f"x+{i}", rf"\boxed{{{i}+x}}").verdict)
        )
        for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [Verdict.right] * 3
