"""Datasets in: hub, local files or built-in, with their columns mapped to what training expects.

`columns` and `tiny_task` are pure; `load` needs the datasets library and runs in a child.
"""
