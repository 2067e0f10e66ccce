"""Worker processes that do not outlive the process that started them."""

import os
import threading
import time

EVERY_S = 0.5
"""How often a process looks whether its parent is still there."""


def end_with(parent: int) -> None:
    """End this process when ``parent`` is gone: killed with ``kill -9``, that has no chance to say so.

    ``parent`` is the process id that the parent gave: asked here, it would be another's where the parent is gone
    already.
    """
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY_S)
    os._exit(1)
