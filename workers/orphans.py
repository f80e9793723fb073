"""A small process that outlives its parent by a moment and ends what the parent left behind.

Ray's own processes end with their driver, but its agents wait up to a minute for a control store
that is gone. When the pipe between parent and watcher breaks, the watcher kills what descends from
the parent: processes that carry the parent's mark in their environment, and those that it saw below
the parent while it lived (some overwrite their environment with a title). A process id that was
taken over by another process has another start time and is left alone.

Linux only: elsewhere `watch_over_children` does nothing.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

LOOK_EVERY_S = 0.5
MARK_VARIABLE = "SYNTHFORGE_STARTED_BY"
_PPID, _START_TIME = 1, 19  # fields of /proc/PID/stat behind the name, proc(5)

Processes = dict[int, int]  # process id -> start time in clock ticks


def watch_over_children() -> None:
    """Start the watcher of this process; it ends with it."""
    if not sys.platform.startswith("linux"):
        return
    mark = f"{os.getpid()}-{_started(os.getpid())}"
    os.environ[MARK_VARIABLE] = mark  # every process that is started from now on inherits it
    reader, writer = os.pipe()
    subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, "-I", __file__, str(os.getpid()), mark],
        env={},  # the watcher itself is not marked
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the parent's group must not reach it
    )
    os.close(reader)
    os.set_inheritable(writer, False)  # held by the parent alone: breaks when the parent ends


def descendants(pid: int) -> Processes:
    """Return all that descend from a process, without this process itself."""
    parents: dict[int, int] = {}
    starts: Processes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[_PPID])
                starts[int(entry.name)] = int(fields[_START_TIME])
    family = {pid}
    grown = True
    while grown:
        children = {child for child, parent in parents.items() if parent in family} - family
        family |= children
        grown = bool(children)
    return {child: starts[child] for child in family - {pid, os.getpid()} if child in starts}


def marked(mark: str) -> Processes:
    """Return all whose environment carries a parent's mark."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found: Processes = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        start = _started(int(entry.name))
        if wanted in environment and start is not None:
            found[int(entry.name)] = start
    return found


def end(processes: Processes) -> None:
    """Kill those that are still the ones that were seen."""
    for pid, start in processes.items():
        if _started(pid) == start:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def is_alive(pid: int) -> bool:
    """Tell whether a process is there; unknown counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[_START_TIME]) if fields else None


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _watch(parent: int, mark: str) -> None:
    seen: Processes = {}
    while not select.select([sys.stdin], [], [], LOOK_EVERY_S)[0]:
        # Those whose parent ended in between hang below init now: they stay remembered.
        seen = {pid: start for pid, start in seen.items() if _started(pid) == start}
        seen |= descendants(parent)
    seen |= marked(mark)
    for pid in list(seen):
        seen |= descendants(pid)
    end(seen)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), sys.argv[2])
