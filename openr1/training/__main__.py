"""`python -m openr1.training RUN_FOLDER`: the child process of `openr1 sft` and `openr1 grpo`."""

from typing import Any

from openr1.runs.child import Child, main
from openr1.training.libraries import needed_only


def work(child: Child) -> dict[str, Any]:
    if child.first and "check_rewards" in child.config["plan"]:
        with needed_only(child.config["stage"], child.values):
            from openr1.training.check_rewards import check

        return check(child)
    if child.first and "show_samples" in child.config["plan"]:
        with needed_only(child.config["stage"], child.values):
            from openr1.training.show_samples import show

        return show(child)
    from openr1.training.run import train

    return train(child)


if __name__ == "__main__":
    raise SystemExit(main(work))
