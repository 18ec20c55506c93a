"""A Slurm of two nodes on this host, from the distribution's packages, in a folder of its own.

The nodes are two slurmd with ports of their own (`NodeHostname` is this host for both). Nothing outside the
folder is used: munge gets a key and a socket there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
NODES = ("n1", "n2")

CONF = """\
ClusterName=openr1test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=20
JobRequeue=1
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=1 State=UNKNOWN
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None when one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return (
            f"Slurm is not installed ({', '.join(missing)}): apt install slurmctld slurmd slurm-client munge"
        )
    return None if os.geteuid() == 0 else "slurmd needs root"


@dataclass
class Cluster:
    """The running cluster; `env` is what a command needs to talk to it."""

    folder: Path
    env: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *argv: str) -> None:
        log = (self.folder / f"{name}.out").open("ab")
        # bound: a test run that is killed leaves no daemon behind
        bound = [sys.executable, "-m", "openr1.launch.bound", *argv]
        self.running[name] = subprocess.Popen(
            bound, env=os.environ | self.env, stdout=log, stderr=log, start_new_session=True
        )

    def start_node(self, node: str) -> None:
        self.start(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """As if its power was cut: slurmd, its steps, and everything they run."""
        process = psutil.Process(self.running[node].pid)
        doomed = [process, *process.children(recursive=True)]
        for step in psutil.process_iter(["name", "cmdline"]):
            if "slurmstepd" in (step.info["name"] or "") and self._is_on(step, node):
                doomed += [step, *step.children(recursive=True)]
        for one in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.running[node].wait()

    def _is_on(self, step: psutil.Process, node: str) -> bool:
        try:
            files = [f.path for f in step.open_files()] + [step.environ().get("SLURMD_NODENAME", "")]
            children = [c.environ().get("SLURMD_NODENAME") for c in step.children()]
        except psutil.Error:
            return False
        return node in children or any(f"spool-{node}" in path for path in files)

    def ask(self, *argv: str) -> str:
        done = subprocess.run(argv, env=os.environ | self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def state(self, job: int) -> str:
        """PENDING, RUNNING, COMPLETED, …"""
        text = self.ask("scontrol", "show", "job", "-o", str(job))
        return text.split("JobState=")[1].split()[0]

    def wait(self, what: Callable[[], bool], seconds: float = 300) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return True
            time.sleep(0.2)
        return False

    def logs(self) -> str:
        files = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-1500:]}" for p in sorted(files))


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Started and idle; ended and gone afterwards."""
    folder.chmod(0o755)
    for parent in folder.parents:  # munged refuses a socket in a folder that others cannot pass
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
        if parent == Path("/tmp"):
            break
    ctld, n1, n2 = free_ports(3)
    (folder / "state").mkdir()
    for node in NODES:
        (folder / f"spool-{node}").mkdir()
    text = CONF.format(folder=folder, host=socket.gethostname().split(".")[0], ctld=ctld, n1=n1, n2=n2)
    (folder / "slurm.conf").write_text(text)
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    found = Cluster(folder, {"SLURM_CONF": str(folder / "slurm.conf")})
    try:
        found.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        assert found.wait((folder / "munge.socket").exists, 20), found.logs()
        found.start("slurmctld", "slurmctld", "-D")
        for node in NODES:
            found.start_node(node)
        idle = lambda: found.ask("sinfo", "-h", "-o", "%T %D").strip() == "idle 2"  # noqa: E731
        assert found.wait(lambda: _quietly(idle), 60), found.logs()
        yield found
    finally:
        _end(found)


def _quietly(question: Callable[[], bool]) -> bool:
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
        return question()
    return False


def _end(found: Cluster) -> None:
    with contextlib.suppress(Exception):
        subprocess.run(["scancel", "--user=root", "--signal=KILL"], env=os.environ | found.env, timeout=20)
        found.wait(lambda: not found.ask("squeue", "-h").strip(), 20)
    family: list[psutil.Process] = []
    for process in found.running.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            family += [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
