"""Child processes that never outlive the run, on the core they are told."""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

_running = []
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Why a step can't be done, in one line for the reader."""


def start(command, cores, log, env=None, **pipes):
    def before_exec():
        os.sched_setaffinity(0, cores)
        prefer()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    pipes.setdefault("stdout", log)
    process = subprocess.Popen(
        command,
        stderr=log,
        env={**os.environ, **(env or {})},
        start_new_session=True,
        preexec_fn=before_exec,
        **{"stdin": subprocess.DEVNULL, **pipes},
    )
    _running.append(process)
    return process


def prefer(niceness=-15):
    """Lets a build next door disturb less; only root may."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        # Where the kernel groups by session, niceness counts only within the group.
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(niceness))
    except OSError:
        pass


def stop(process, patience=2):
    """Ends a process and all that it started."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    if process in _running:
        _running.remove(process)


def stop_all():
    for process in _running[::-1]:
        stop(process, patience=0.3)


def stop_all_at_exit():
    atexit.register(stop_all)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(process, port, log_path, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"ended with status {process.returncode}: {last_line(log_path)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failed(f"no listener after {seconds} s: {last_line(log_path)}")


def last_line(path):
    lines = [line for line in open(path, errors="replace").read().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
