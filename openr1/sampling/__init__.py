"""Completions out of a model, every one of them written down as soon as it is there.

`requests` are the data, `ledger` the append-only file, `transformers_backend` the first of the backends.
"""
