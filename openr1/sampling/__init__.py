"""Completions out of a model, every one of them written down as soon as it is there.

`requests` are the data, `ledger` the append-only file, `backend` what every backend can do. The backends:
`transformers_backend`, `vllm_backend`, `server_backend` (OpenAI-compatible), and `pool`, which drives several
engine processes (`engine`) as one.
"""
