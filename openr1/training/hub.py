"""Uploads while training and after it, where a recipe's `push_to_hub` asks for them.

transformers pushes every save to one branch (`hub_revision`, else main). Ours on top of that: the branch is
made where it is missing, each checkpoint becomes a revision of its own as open-r1's callback
`push_to_hub_revision` made it, and an upload that fails is said and costs neither the run nor its model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from openr1.errors import EnvironmentProblem
from openr1.runs.child import Child

MAIN = "main"
RESUMING = ("*.pt", "*.pth", "optimizer.bin", "training_args.bin", "openr1-*", "latest", "zero_to_*.py")
"""Optimizer, scheduler and random states, arguments, seals, and what DeepSpeed leaves beside its shards: what
continues a run is no part of the model."""
WAITING = ".hub"
"""Folder of the run with what waits for its upload."""


def step_revision(base: str | None, step: int) -> str:
    """`main-step-000000050`, as open-r1 names the revision of a checkpoint."""
    return f"{base or MAIN}-step-{step:09d}"


class Pushed:
    """Trainer mix-in: the repository and the branch that is pushed to are there before the first step."""

    def init_hf_repo(self, token: str | None = None) -> None:
        """As transformers does it, in the trainer's constructor.

        Raises:
            EnvironmentProblem: the hub does not answer, or refuses.
        """
        args: Any = self.args  # type: ignore[attr-defined]
        try:
            super().init_hf_repo(token)  # type: ignore[misc]
            if self.is_world_process_zero() and args.hub_revision not in (None, MAIN):  # type: ignore[attr-defined]
                HfApi().create_branch(self.hub_model_id, branch=args.hub_revision, exist_ok=True)  # type: ignore[attr-defined]
        except Exception as error:  # the hub's, the network's, or any of its client's
            raise EnvironmentProblem(
                f"the hub does not let us push to {args.hub_model_id}: {words(error)}",
                where="push_to_hub",
                fix="hf auth whoami shows who you are there; --push_to_hub false keeps the model here",
            ) from error


class HubRevisions(TrainerCallback):
    """Uploads each checkpoint, in the background, to a branch that begins at the repository's first commit.

    What is uploaded is linked into a folder of its own first: an old checkpoint may be removed meanwhile.
    """

    def __init__(self, child: Child, repository: str, api: HfApi | None = None) -> None:
        self.child, self.repository, self.api = child, repository, api or HfApi()
        self.base: str | None = child.values["hub_revision"]
        self.jobs: list[Future[Any]] = []
        self.waiting = child.run.path / WAITING
        shutil.rmtree(self.waiting, ignore_errors=True)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        values = self.child.values
        if not values["hub_step_revisions"] or values["hub_strategy"] == "end":
            return
        step = state.global_step
        folder = self.waiting / f"step-{step}"
        link_model(self.child.run.checkpoints / f"checkpoint-{step}", folder)
        job = self.api.run_as_future(self._push, folder, step_revision(self.base, step))
        job.add_done_callback(partial(self._done, folder, step))
        self.jobs.append(job)

    def _push(self, folder: Path, revision: str) -> None:
        first = self.api.list_repo_commits(self.repository)[-1].commit_id
        self.api.create_branch(self.repository, branch=revision, revision=first, exist_ok=True)
        message = f"Add {revision} checkpoint"
        self.api.upload_folder(
            repo_id=self.repository, folder_path=folder, revision=revision, commit_message=message
        )

    def _done(self, folder: Path, step: int, job: Future[Any]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if not job.cancelled() and (error := job.exception()):
            self.say(f"the checkpoint of step {step} was not uploaded: {words(error)}")

    def finish(self, pending: Any, card: Path) -> None:
        """Wait for what is on its way, then upload the finished model and its card.

        Args:
            pending: transformers' own pushes (`Trainer.push_in_progress`), or None.
            card: the model card, where there is one.
        """
        self.child.events.send("phase", name="uploading")
        for job in [*self.jobs, *(pending.jobs if pending else ())]:
            error = job.exception()
            if error and job not in self.jobs:
                self.say(f"a save was not uploaded: {words(error)}")
        shutil.rmtree(self.waiting, ignore_errors=True)
        where = {"repo_id": self.repository, "revision": self.base, "commit_message": "Model save"}
        if card.exists() and not self._tried(
            partial(self.api.upload_file, path_or_fileobj=card, path_in_repo=card.name, **where)
        ):
            return
        if self._tried(partial(self.api.upload_folder, folder_path=self.child.run.model, **where)):
            self.say(f"the model is uploaded: {self.repository}, revision {self.base or MAIN}")

    def _tried(self, upload: Callable[[], Any]) -> bool:
        try:
            upload()
        except Exception as error:  # the hub's, the network's, or any of its client's
            model = self.child.run.model
            command = f"hf upload {self.repository} {model}"
            command += f" --revision {self.base}" if self.base else ""
            self.say(f"the model was not uploaded: {words(error)}. It is whole in {model}; later: {command}")
            return False
        return True

    def say(self, text: str) -> None:
        self.child.events.send("notice", text=text)


def words(error: BaseException) -> str:
    """An error's first line, with its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def link_model(checkpoint: Path, folder: Path) -> None:
    """The files of a checkpoint that belong to its model, under another folder: linked, or copied where the
    file system has no links."""
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file()):
        if any(path.match(pattern) for pattern in RESUMING):
            continue
        target = folder / path.relative_to(checkpoint)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copy2(path, target)
