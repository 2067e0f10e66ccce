"""A simulation in a process of its own: a crash ends that process alone, and equal runs give equal numbers.

SUMO keeps some objects in the order of their addresses, so that a libsumo simulation depends on where the memory
allocator puts them, and with it on what the process did before. Measured with SUMO 1.28 on ``cologne1``: the same
run 12 times in one process gave two different results, 9 and 3 times, and in forked processes with a scattered heap
4 and 3 times; in new processes, and in forked ones whose heap was settled as below, one result always, that of the
``sumo`` program. Only the layout at loading time mattered.
"""

import gc
import math
import os
import pickle
import select
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from scenariogen.errors import SimulationError
from scenariogen.processes import end_with

Result = TypeVar("Result")

_BLOCKS = (65_536, 32_768, 16_384, 8_192, 4_096, 2_048, *range(1_032, 23, -16))
"""Sizes (bytes) that settle the heap: every size class that glibc keeps a list of free blocks for, largest first."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # parameters of mallopt, see malloc.h


class ProcessDiedError(SimulationError):
    """The process that simulated ended without a result. The text says how."""


class TookTooLongError(SimulationError):
    """The process that simulated was ended because its time was up."""


def in_own_process(function: Callable[..., Result], *args: Any, limit_s: float = math.inf) -> Result:
    """``function(*args)`` in a forked process, whose result comes back pickled; what it raises is raised here.

    Raises :class:`ProcessDiedError` where the process ends without a result, and :class:`TookTooLongError` where it
    has none after ``limit_s`` wall seconds: then it is killed, with the processes that it started, whatever code it
    hangs in. Where the system cannot fork, the function is called in this process: then a crash takes it along, no
    limit holds, and numbers may differ in their last digits between a first and a later run.
    """
    if not hasattr(os, "fork"):
        return function(*args)
    reader, writer = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads here only wait, and hold no lock
        child = os.fork()
    if child == 0:
        if limit_s < math.inf:
            os.setpgid(0, 0)  # so that what it starts can be ended with it
        os.close(reader)
        _serve(function, args, writer, parent)
    os.close(writer)
    try:
        answer = _read(reader, limit_s)
    except BaseException:
        _end(child)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if not answer or status:
        raise ProcessDiedError(f"the process died while it simulated ({_how(status)})")
    succeeded, value = pickle.loads(answer)
    if succeeded:
        return value
    raise value


def _read(reader: int, limit_s: float) -> bytes:
    """All that comes out of a pipe, which is closed."""
    deadline = time.monotonic() + limit_s
    with os.fdopen(reader, "rb", buffering=0) as stream:
        if limit_s == math.inf:
            return stream.read()
        parts: list[bytes] = []
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
                raise TookTooLongError(f"it took longer than {limit_s:.0f} s and was ended")
            part = stream.read(65_536)
            if not part:
                return b"".join(parts)
            parts.append(part)


def _end(child: int) -> None:
    """Kill a forked process, and those that it started where it leads a group of its own."""
    if os.getpgid(child) == child:
        os.killpg(child, signal.SIGKILL)
    else:
        os.kill(child, signal.SIGKILL)


def _serve(function: Callable[..., Any], args: tuple[Any, ...], writer: int, parent: int) -> NoReturn:
    """The life of the forked process."""
    status = 1
    try:
        end_with(parent)
        gc.collect()  # so that later collections come at the same moments in equal runs
        gc.freeze()
        settle_heap()
        try:
            answer = pickle.dumps((True, function(*args)))
        except BaseException as error:  # noqa: BLE001 - raised in the parent
            answer = pickle.dumps((False, _portable(error)))
        with os.fdopen(writer, "wb") as stream:
            stream.write(answer)
        status = 0
    finally:
        os._exit(status)  # without the clean-up that belongs to the parent


def _portable(error: BaseException) -> BaseException:
    """The error itself where it survives pickling, otherwise its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever pickling raises, the error is told
        return SimulationError(f"{type(error).__name__}: {error}")
    return error


def settle_heap() -> None:
    """Fill the holes that glibc's allocator knows of, so that what comes next lies in the order of its allocation.

    Blocks of each size class are taken, largest first, until one comes from beyond the end that the heap had; they
    are never given back, so this is for a process that makes one run. Does nothing with another C library.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.sbrk.argtypes = [ctypes.c_size_t], [ctypes.c_ssize_t]
    for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):  # glibc moves them by what was freed before, unless set
        libc.mallopt(parameter, 128 * 1024)
    end, malloc = libc.sbrk(0), libc.malloc
    for size in _BLOCKS:
        while (malloc(size) or end) < end:
            pass


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
    return f"exit code {os.WEXITSTATUS(status)}"
