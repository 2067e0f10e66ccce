"""Worker processes, each of one thread, that do not outlive the process that started them."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joblib.externals.loky import ProcessPoolExecutor

ONE_THREAD: Mapping[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""The environment of a worker that computes in one thread: parallelism is in the number of workers."""
EVERY_S = 0.5
"""How often a process looks whether its parent is still there."""


def worker_pool(
    workers: int,
    *,
    env: Mapping[str, str] = ONE_THREAD,
    first: Callable[..., None] | None = None,
    given: tuple[Any, ...] = (),
) -> "ProcessPoolExecutor":
    """Up to ``workers`` processes, started as there is work; in each ``first(*given)`` is called before any of it.

    Ctrl-C, which reaches every process of a terminal, is left to this process.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    # The pool replaces a worker that has grown, which is wanted here: a day's trajectories are large.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given", category=UserWarning)
    return ProcessPoolExecutor(
        max_workers=workers, initializer=_settle_in, initargs=(os.getpid(), first, given), env=dict(env)
    )


def how_it_died(error: Exception) -> str:
    """A run's error where its process is gone, with the exit codes out of the broken pool's message."""
    codes = str(error).partition("exit codes of the workers are")[2].strip(" {}\n").splitlines()
    return f"the process died while it simulated ({codes[0].strip(' {}') if codes else type(error).__name__})"


def end_with(parent: int) -> None:
    """End this process when ``parent`` is gone: killed with ``kill -9``, that has no chance to say so.

    ``parent`` is the process id that the parent gave: asked here, it would be another's where the parent is gone
    already.
    """
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _settle_in(parent: int, first: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    if first is not None:
        first(*given)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY_S)
    os._exit(1)
