"""The machine: its facts, its cores, CPU time and memory as the kernel counts them."""

import os
import pathlib
import platform
import resource

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE = CORES[-1]
LOAD_CORES = CORES[:-1] or CORES


def raise_file_limit(wanted=65536):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def facts():
    cpu = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": cpu,
        "cores": len(CORES),
        "proxy_core": PROXY_CORE,
        "load_cores": LOAD_CORES,
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
    }


def tree(root):
    """`root` and all its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(entry)
            if stat:
                parents.setdefault(int(stat[1]), []).append(int(entry))
    found, rest = [], [root]
    while rest:
        pid = rest.pop()
        found.append(pid)
        rest += parents.get(pid, [])
    return found


def cpu_seconds(root):
    """User and system time of a process tree, all threads; ended children that were waited for too."""
    ticks = 0
    for pid in tree(root):
        stat = _stat(pid)
        if stat:
            ticks += sum(int(field) for field in stat[11:15])
    return ticks / TICK


def resident_bytes(root):
    """Resident memory of a process tree; shared pages count once a process."""
    total = 0
    for pid in tree(root):
        try:
            total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            pass
    return total


def slab_bytes():
    """What the kernel keeps its own things in, sockets among them; of the whole machine."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    return 0


def core_seconds(core):
    """Time in which a core was busy, and in which the hypervisor had taken it away."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq) / TICK, steal / TICK
    return 0.0, 0.0


def _stat(pid):
    """The fields of /proc/PID/stat behind the name: state, parent, …, utime at 11."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
