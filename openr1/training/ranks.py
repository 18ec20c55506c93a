"""Several ranks of one run: they meet, agree, and take turns. Alone, all of it costs nothing.

The process group is made here, before TRL and accelerate look for one, for two reasons: ranks that never
come up are named after a bounded wait, and flags travel over the CPU without stopping a card.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from openr1.errors import ComponentFailed, DoesNotFit, EnvironmentProblem, OpenR1Error, from_dict
from openr1.launch.command import CAPACITY
from openr1.launch.line import wait_seconds
from openr1.runs.child import Child

T = TypeVar("T")
COLLECTIVE_SECONDS = 1800  # torch's and NCCL's own default


def join(child: Child) -> None:
    """Meet the other ranks, and take the run's values from the first. Returns at once when there are none.

    Raises:
        EnvironmentProblem: ranks that never came, a run folder that is not shared between the nodes.
        ComponentFailed: the first rank cannot be reached.
    """
    if child.ranks == 1:
        return
    seconds = wait_seconds()
    store = _store(child, seconds)
    if child.first:
        on_cards = torch.cuda.is_available() and not child.values.get("use_cpu")
        store.set("run", json.dumps([child.run.path.name, child.ranks, on_cards]))
    else:
        _check_same_run(child, store)
    store.set(f"here/{child.rank}", str(child.node))
    _wait_for_all(child, store, seconds)
    # gloo beside NCCL: what is agreed upon between steps never waits for a card.
    backend = "cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        backend,
        store=dist.PrefixStore("group", store),
        rank=child.rank,
        world_size=child.ranks,
        timeout=datetime.timedelta(seconds=COLLECTIVE_SECONDS),
    )
    _check_shared(child)
    child.config = from_first(child, lambda: child.config)
    _check_fits(child)


def _store(child: Child, seconds: float) -> Any:
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    where = f"{host}:{port}"
    try:
        return dist.TCPStore(
            host, port, child.ranks, is_master=child.first, wait_for_workers=False,
            timeout=datetime.timedelta(seconds=seconds),
        )  # fmt: skip
    except RuntimeError as error:
        text = str(error)
        if child.first and "EADDRINUSE" in text:
            raise EnvironmentProblem(
                f"port {port} is in use on this node",
                where=where,
                fix="give the command again; with --master, name another port",
            ) from error
        raise ComponentFailed(
            f"the first rank at {where} cannot be reached, another process of this run",
            where=f"node {child.node}",
            fix="is the first node up, is the address right, and does the firewall let the port through?",
        ) from error


def _check_same_run(child: Child, store: Any) -> None:
    """Whether this rank was started for what the first one runs; if not, that is the first one's end too."""
    name, ranks, on_cards = json.loads(store.get("run"))
    problem = None
    if name != child.run.path.name:  # a rehearsal has a folder of its own
        problem = EnvironmentProblem(
            f"node {child.node} was started for {child.run.path.name}, the first one for {name}",
            where=f"node {child.node}",
            fix="give the same command on every node; --rehearse or --no-rehearse too",
        )
    elif ranks != child.ranks:
        problem = EnvironmentProblem(
            f"node {child.node} counts {child.ranks} ranks in all, the first one {ranks}",
            where=f"node {child.node}",
            fix="start the same command on every node; with unequal nodes say --gpus N, or --processes N",
        )
    elif on_cards and not torch.cuda.is_available():
        problem = EnvironmentProblem(
            f"node {child.node} has no GPU that torch can use, and the first one trains on its own",
            where=f"node {child.node}",
            fix="`openr1 hw-profile --check` there says why; or leave that node out",
        )
    if problem is not None:
        store.set("refused", json.dumps(problem.as_dict()))
        raise problem


def _wait_for_all(child: Child, store: Any, seconds: float) -> None:
    """Until every rank has said that it is here; the missing ones are named."""
    end = time.monotonic() + seconds
    while True:
        if store.check(["refused"]):
            raise from_dict(json.loads(store.get("refused")))
        missing = [r for r in range(child.ranks) if not store.check([f"here/{r}"])]
        if not missing:
            return
        child.check_stop()
        if time.monotonic() > end:
            here = int(os.environ["LOCAL_WORLD_SIZE"])
            nodes = sorted({rank // here for rank in missing})
            raise EnvironmentProblem(
                f"{len(missing)} of {child.ranks} ranks did not come up within {seconds:.0f} s: "
                f"node {', '.join(map(str, nodes))}",
                where="--nodes",
                fix="start the same command on every node, each with its own --node-rank, "
                "and look into the missing node's log",
            )
        time.sleep(0.05)


def _check_shared(child: Child) -> None:
    """Whether every node sees the first one's run folder: checkpoints and the model are written once."""

    def written() -> str:
        name = f".seen-{uuid.uuid4().hex}"
        (child.run.path / name).touch()
        return name

    name = from_first(child, written)
    seen = (child.run.path / name).exists()
    all_see = not any_of(child, not seen)
    if child.first:
        (child.run.path / name).unlink(missing_ok=True)
    if not all_see:
        raise EnvironmentProblem(
            "the run folder is not the same on every node"
            if seen
            else "this node does not see the run folder that the first one writes",
            where=str(child.run.path.resolve()),
            fix="put it on a file system that all nodes share: --output_dir, or OPENR1_RUNS_DIR for all runs",
        )


def _check_fits(child: Child) -> None:
    """Whether the first node's plan fits on the others, whose cards may be smaller.

    Raises:
        DoesNotFit: on every rank, with the node that has the least.
    """
    plan, own = child.config["plan"], int(os.environ.get(CAPACITY) or 0)
    everyone = from_all(child, (own, child.node))
    needed = max((sum(terms.values()) for terms in (plan.get("memory") or {}).values()), default=0)
    least, node = min(((size, node) for size, node in everyone if size), default=(0, 0))
    if least < needed <= (plan.get("capacity_bytes") or 0) and least:
        gib = 2**30
        raise DoesNotFit(
            f"the first node's plan needs {needed / gib:.1f} GiB at most for each rank, and on node {node} "
            f"{least / gib:.1f} GiB may be used",
            where=f"node {node}",
            fix="make that node the first (--node-rank 0, its address in --master): the plan is made there; "
            "or say a smaller --per_device_train_batch_size on every node",
        )


def from_first(child: Child, make: Callable[[], T]) -> T:
    """What the first rank's `make()` returns (JSON-ready), on every rank; only the first calls it."""
    if child.ranks == 1:
        return make()
    said: list[Any] = [None]
    error: Exception | None = None
    if child.first:
        try:
            said = [json.dumps({"value": make()}, default=str)]
        except Exception as caught:
            error, said = caught, [json.dumps({"error": True})]
    dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
    if error is not None:
        raise error
    heard = json.loads(said[0])
    if "error" in heard:
        raise ComponentFailed("another process of this run failed: the first rank")
    value: T = heard["value"]
    return value


def from_all(child: Child, value: T) -> list[T]:
    """Every rank's value, by rank. Every rank must ask."""
    if child.ranks == 1:
        return [value]
    found: list[Any] = [None] * child.ranks
    dist.all_gather_object(found, value)
    return found


def any_of(child: Child, flag: bool) -> bool:
    """Whether the flag is up on any rank. Every rank must ask."""
    if child.ranks == 1:
        return flag
    up = torch.tensor([int(flag)])
    dist.all_reduce(up, op=dist.ReduceOp.MAX)
    return bool(up.item())


@contextlib.contextmanager
def first_goes_first(child: Child) -> Iterator[None]:
    """The body runs on the first rank, then on the others: what it writes to a cache is written once."""
    if child.ranks == 1:
        yield
        return
    if not child.first and any_of(child, False):
        raise ComponentFailed("another process of this run failed: the first rank")
    try:
        yield
    except BaseException:
        if child.first:
            any_of(child, True)
        raise
    if child.first:
        any_of(child, False)


def leave(child: Child) -> None:
    """Say goodbye together, so that no rank takes another's orderly end for a failure."""
    if child.ranks > 1 and dist.is_initialized():
        with contextlib.suppress(RuntimeError, OpenR1Error):
            dist.barrier()
            dist.destroy_process_group()
