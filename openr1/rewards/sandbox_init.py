"""The first process inside a sandbox: builds the walls, starts one program, watches it, reports.

Run as a script by `sandbox.py` with the interpreter's `-I -S`; it imports nothing of the project. Its
standard input is a JSON request; stdout and stderr become the program's; the report goes to the
file descriptor named in the request.

With `"walls": "namespaces"` it makes its own: new mount, pid, network, IPC and UTS namespaces (inside
a new user namespace for an ordinary user), a root that holds only the listed read-only folders, a
private /proc, five device files and a scratch folder. With `"walls": "given"` bubblewrap has done that.
"""

# Only os, no pathlib: its import would be a tenth of the time a program takes to start.
# ruff: noqa: PTH101, PTH103, PTH108, PTH106, PTH110, PTH112, PTH120, PTH123, PTH208, SIM105
from __future__ import annotations

import binascii
import ctypes
import json
import os
import resource
import signal
import sys
import time

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, 155)
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}.get(os.uname().machine, 126)
DEVICES = ("null", "zero", "full", "random", "urandom")
WATCH_S = 0.02

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    check(
        libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()),
        f"mount {target}",
    )


def enter_namespaces(privileged: bool) -> None:
    """New namespaces for this process and, for pids, for its children."""
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    check(libc.unshare(flags | (0 if privileged else CLONE_NEWUSER)), "unshare")
    if not privileged:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def build_root(readable: list[str], scratch: str, scratch_mb: int) -> None:
    """Make a root that holds `readable` (read-only) and `scratch` (a tmpfs), and move there.

    Called by pid 1 of the new namespaces, so that /proc shows only what is inside.
    """
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    root = "/tmp"  # any folder will do as the mount point; it is covered, not written to
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in readable:
        bind(path, root + path, MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.makedirs(root + "/dev", exist_ok=True)
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}"):
            bind(f"/dev/{name}", f"{root}/dev/{name}", MS_NOSUID | MS_NOEXEC)
    os.makedirs(root + "/proc", exist_ok=True)
    try:
        mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        pass  # a container that hides parts of /proc forbids a fresh one: then there is none
    os.makedirs(root + scratch, exist_ok=True)
    mount(
        "tmpfs", root + scratch, "tmpfs", MS_NOSUID | MS_NODEV, f"size={scratch_mb}m,nr_inodes=4096,mode=777"
    )
    os.makedirs(root + "/.old", exist_ok=True)
    check(libc.syscall(SYS_PIVOT_ROOT, root.encode(), f"{root}/.old".encode()), "pivot_root")
    os.chdir("/")
    check(libc.umount2(b"/.old", MNT_DETACH), "umount old root")
    os.rmdir("/.old")
    mount("none", "/", "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def bind(source: str, target: str, flags: int) -> None:
    """Bind `source` at `target`; of the flags, those that the kernel will not let go of are kept."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, "", MS_BIND | MS_REC)
    locked = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount(
        "none", target, "", MS_BIND | MS_REMOUNT | flags | (locked & ~(MS_NODEV if "/dev/" in target else 0))
    )


def drop_privileges(uid: int | None) -> None:
    """No capability can be held or gained from here on; another user too, when this is the real root."""
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    libc.syscall(SYS_CAPSET, header, (ctypes.c_uint32 * 6)())
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user forgets it
    # others inside cannot trace this process or look into it
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit(request: dict) -> None:
    """Resource limits of the program; called in its process."""
    megabyte = 2**20
    limits = {
        resource.RLIMIT_AS: 2 * request["memory_mb"] * megabyte,
        resource.RLIMIT_CPU: request["cpu_s"],
        resource.RLIMIT_FSIZE: request["file_mb"] * megabyte,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: request["processes"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
    if request["stack_mb"]:
        most = resource.getrlimit(resource.RLIMIT_STACK)[1]
        wanted = request["stack_mb"] * megabyte
        deepest = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_STACK, (deepest, deepest))


def resident_mb(watcher: int) -> float:
    """Resident memory of everything inside but the watcher, without shared libraries."""
    pages = 0
    try:
        names = os.listdir("/proc")
    except OSError:
        return 0.0
    for name in names:
        if name.isdigit() and int(name) not in (1, watcher):
            try:
                with open(f"/proc/{name}/statm") as file:
                    fields = file.read().split()
                    pages += int(fields[1]) - int(fields[2])
            except (OSError, ValueError, IndexError):
                continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def watch(program: int, request: dict) -> dict:
    """Wait for the program, ending it when everything inside together uses too much memory."""
    peak, why = 0.0, None
    deadline = time.monotonic() + request["wall_s"]
    while True:
        done, status, used = os.wait4(program, os.WNOHANG)
        if done:
            break
        peak = max(peak, resident_mb(os.getpid()))
        if peak > request["memory_mb"]:
            why = "memory"
        elif time.monotonic() > deadline:
            why = "timeout"
        if why:
            os.kill(program, signal.SIGKILL)
            _, status, used = os.wait4(program, 0)
            break
        time.sleep(WATCH_S)
    facts = {"why": why, "peak_mb": peak, "cpu_s": used.ru_utime + used.ru_stime}
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status), **facts}
    return {"exit": os.WEXITSTATUS(status), **facts}


def inside(request: dict, report: int) -> None:
    """Pid 1 (or bubblewrap's child): scratch files, the program, the watch."""
    scratch = request["scratch"]
    for name in (*request["files"], *request["programs"]):
        if "/" in name:
            os.makedirs(os.path.dirname(f"{scratch}/{name}"), exist_ok=True)
    for name, text in request["files"].items():
        with open(f"{scratch}/{name}", "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
    for name, data in request["programs"].items():
        with open(f"{scratch}/{name}", "wb") as file:
            file.write(binascii.a2b_base64(data))
        os.chmod(f"{scratch}/{name}", 0o755)
    with open(f"{scratch}/.stdin", "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(request["stdin"])
    os.write(report, b'{"started": true}\n')
    program = os.fork()
    if program == 0:
        os.close(report)
        os.closerange(3, 256)
        os.chdir(scratch)
        stdin = os.open(f"{scratch}/.stdin", os.O_RDONLY)
        os.unlink(f"{scratch}/.stdin")
        os.dup2(stdin, 0)
        os.close(stdin)
        os.setsid()
        limit(request)
        os.execve(request["argv"][0], request["argv"], request["env"])
    result = watch(program, request)
    os.write(report, (json.dumps(result) + "\n").encode())
    os._exit(0)  # pid 1 ends: the kernel ends everything else inside


def main() -> None:
    request = json.load(sys.stdin)
    report = request["report"]
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        if request["walls"] == "given":
            drop_privileges(None)
            inside(request, report)
        privileged = os.geteuid() == 0
        enter_namespaces(privileged)
        first = os.fork()
        if first == 0:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            build_root(request["readable"], request["scratch"], request["scratch_mb"])
            drop_privileges(request["uid"] if privileged else None)
            inside(request, report)
        os.waitpid(first, 0)
    except BaseException as problem:
        os.write(report, (json.dumps({"setup": f"{type(problem).__name__}: {problem}"}) + "\n").encode())
        os._exit(70)
    os._exit(0)


if __name__ == "__main__":
    main()
