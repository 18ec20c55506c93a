"""Completions for a dataset: `python -m openr1.generation RUN_FOLDER`."""
