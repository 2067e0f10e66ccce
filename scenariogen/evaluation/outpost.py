"""A process beside a worker of a cluster that makes its runs one after another, as the workers of a batch do.

A worker of ``dask.distributed`` has threads of its own, perhaps may not start processes, and has another hash seed than
its neighbour. Runs are made outside it, in the environment that runs always have, so that their numbers are the same
to the last digit; and a run that takes its process down leaves the worker alone.
"""

import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from typing import Any, BinaryIO, NoReturn

from scenariogen.evaluation.batch import WORKER_ENVIRONMENT, Runner
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.records import RunResult
from scenariogen.processes import end_with
from scenariogen.simulation.contract import EndReason

_LENGTH = struct.Struct("<Q")
_OWN = threading.local()


def run_in_outpost(runner: Runner, task: Task) -> RunResult:
    """Make a run in this thread's outpost, which is started where there is none. Raises what the runner raises."""
    if getattr(_OWN, "post", None) is None:
        _OWN.post = _started()
    post = _OWN.post
    try:
        _send(post.stdin, (runner, task))
        succeeded, value = _receive(post.stdout)
    except (EOFError, BrokenPipeError):
        _OWN.post = None
        return task.failed(EndReason.SIMULATOR_DIED, f"the process died while it simulated ({_how(post.wait())})")
    if succeeded:
        return value
    raise value


def _started() -> subprocess.Popen:
    path = os.pathsep.join(each for each in sys.path if each)
    return subprocess.Popen(
        [sys.executable, "-m", "scenariogen.evaluation.outpost", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | WORKER_ENVIRONMENT | {"PYTHONPATH": path},
    )


def serve(parent: int) -> None:
    """The life of an outpost: runs come in by standard input until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a simulator or a policy prints is no answer
    while True:
        try:
            runner, task = _receive(asked)
        except EOFError:
            return
        try:
            answer = (True, runner(task))
        except Exception as error:  # noqa: BLE001 - raised where the run was asked for
            answer = (False, error)
        _send(answers, answer)


def _send(stream: Any, content: Any) -> None:
    data = pickle.dumps(content)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: Any) -> Any:
    return pickle.loads(_exactly(stream, _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0]))


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def main() -> NoReturn:
    """Started by :func:`run_in_outpost`."""
    serve(int(sys.argv[1]))
    sys.exit(0)


if __name__ == "__main__":
    main()
