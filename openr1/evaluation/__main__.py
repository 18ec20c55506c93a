"""`python -m openr1.evaluation RUN_FOLDER`: the child process of `openr1 eval`."""

from openr1.evaluation.run import evaluate
from openr1.runs.child import main

if __name__ == "__main__":
    raise SystemExit(main(evaluate))
