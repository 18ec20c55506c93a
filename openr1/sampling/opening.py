"""From a plan to an open sampler: in this process, in several, or servers (child processes only)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openr1.data.model_source import check_loadable, model_files
from openr1.sampling.backend import Engine, Sampler
from openr1.sampling.weights import model_fingerprint

SERVERS = "OPENR1_SERVERS"  # addresses of those that openr1 has started for this run
OWN_AT_ONCE = 256  # requests in flight at each of them, as many as they are started for


def open_sampler(
    plan: Mapping[str, Any],
    values: Mapping[str, Any],
    model: str,
    scratch: Path,
    *,
    revision: str | None = None,
) -> Sampler:
    """The sampler of one model, as the plan's `sampling` says.

    Args:
        model: hub id, folder or builtin:NAME.
        scratch: folder under which a built-in model is written.

    Raises:
        OpenR1Error: what the backend says of a model, a server or an engine that cannot be used.
    """
    if plan["backend"] == "server":
        return _servers(values, model, scratch, revision)
    engine = Engine(
        plan["backend"],
        model_files(model, values["seed"], scratch),
        dtype=values["dtype"],
        revision=revision,
        trust_remote_code=values["trust_remote_code"],
        batch_size=values["batch_size"],
        tensor_parallel=plan.get("tensor_parallel") or 1,
        max_model_length=plan.get("max_model_length") or values["max_model_length"],
        gpu_memory_utilization=values["gpu_memory_utilization"],
        chat_template=values.get("chat_template"),
    )
    environments = plan.get("environments") or ()
    if len(environments) > 1 or any("CUDA_VISIBLE_DEVICES" in one for one in environments):
        from openr1.sampling.pool import EnginePool

        return EnginePool(engine, environments)
    return engine.open()


def _servers(values: Mapping[str, Any], model: str, scratch: Path, revision: str | None) -> Sampler:
    """Servers of a person's own, or those that were started for this run."""
    from openr1.sampling.server_backend import ServerSampler

    if values["server"]:
        return ServerSampler(
            values["server"],
            values["model_name_or_path"],
            per_server=values["batch_size"],
            timeout_s=values["server_timeout"],
        )
    sampler = ServerSampler(
        os.environ[SERVERS].split(),
        None,
        per_server=values["batch_size"] or OWN_AT_ONCE,
        timeout_s=values["server_timeout"],
    )
    # We know the weights that they hold: a run goes on with another backend.
    source = model_files(model, values["seed"], scratch)
    config = check_loadable(source, revision=revision, trust_remote_code=values["trust_remote_code"])
    sampler.fingerprint = model_fingerprint(source, getattr(config, "_commit_hash", None))
    return sampler
