"""What the figures were measured on, for the head of each report."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from importlib import metadata
from pathlib import Path

_KIB_PER_MIB = 1024


def describe_machine() -> dict[str, str | int]:
    """Name the machine and the versions that matter; imports nothing heavy."""
    return {
        "cpu": _cpu_name(),
        "cores": _cores(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": _version("torch"),
        "stream_mer": _version("stream-mer"),
    }


def load_average() -> list[float]:
    """Mean number of busy processes over 1, 5 and 15 minutes; empty where the system does not tell."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else []


def memory_mib(field: str) -> float:
    """A field of Linux's account of this process, such as ``VmRSS``; elsewhere the peak.

    ``ru_maxrss`` is second choice: on Linux a process that was forked begins with the peak of the one that started it.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / _KIB_PER_MIB / (_KIB_PER_MIB if sys.platform == "darwin" else 1)
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found.group(1)) / _KIB_PER_MIB if found else 0.0


def process_cpu_s(pid: int) -> float:
    """Processor seconds that another process has used, all threads; 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "unknown"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
