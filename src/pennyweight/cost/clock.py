"""CPU seconds of this process, all threads together and up to this moment."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TASKS = Path("/proc/self/task")
_SCHED_OF_THREAD = 6  # linux/posix-timers.h: CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD_MASK


def process_s() -> float:
    """CPU seconds of all threads of this process.

    Linux adds the time of threads that are running on OTHER cores only at their next tick, so that `time.process_time`
    alone may be some 4 ms per thread behind. Reading a thread's own clock brings it up to date, hence each is read
    first.
    """
    if _LINUX:
        for task in os.listdir(_TASKS):  # ruff: ignore[os-listdir] - names suffice, and this runs around every sample
            _touch(int(task))
    return time.process_time()


def _touch(task: int) -> None:
    try:
        time.clock_gettime((~task << 3) | _SCHED_OF_THREAD)
    except OSError:  # the thread has ended: the process' clock already has its time
        return


_LINUX = _TASKS.exists() and hasattr(time, "clock_gettime")
