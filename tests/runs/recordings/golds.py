"""A task with references that nobody can read, for the recording eval-not-judged."""

from openr1.evaluation.tasks import Task

golds = Task("golds", "golds.jsonl", columns=("question", "answer"), kind="plain")
