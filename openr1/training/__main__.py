"""`python -m openr1.training RUN_FOLDER`: the child process of `openr1 sft` and `openr1 grpo`."""

from openr1.runs.child import main
from openr1.training.run import train

if __name__ == "__main__":
    raise SystemExit(main(train))
