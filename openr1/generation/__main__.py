"""`python -m openr1.generation RUN_FOLDER`: the child process of `openr1 generate`."""

from openr1.generation.run import generate
from openr1.runs.child import main

if __name__ == "__main__":
    raise SystemExit(main(generate))
