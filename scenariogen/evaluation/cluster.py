"""Runs on a cluster of ``dask.distributed``, with the same results as here to the last digit.

Workers on other machines read project and policies themselves, by the paths that they have here: before the first run
each says whether it finds them there with the same hash, and whether it has the same versions. Later workers are held
to the project's hash by every run.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scenariogen.errors import Problems, ScenariogenError, SimulationError
from scenariogen.evaluation.batch import Runner
from scenariogen.evaluation.outpost import run_in_outpost
from scenariogen.evaluation.pending import Pending, Task, TimeLimit
from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.versions import installed
from scenariogen.simulation.contract import EndReason

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
PATIENCE_S = 60.0
"""How long a cluster may be without any worker, or take to answer at first."""
LOOK_EVERY_S = 5.0


@contextmanager
def connected(address: str, *, jobs: int) -> Iterator["Client"]:
    """A client of the cluster at ``tcp://host:port``, or of ``jobs`` workers on this machine for ``local``."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise SimulationError(
            "a cluster needs dask.distributed, which is not installed: pip install 'scenariogen[cluster]'"
        ) from error
    if address == LOCAL:
        with (
            LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                dashboard_address=None,  # pyright: ignore[reportArgumentType] - which is how none is asked for
                silence_logs=50,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=PATIENCE_S / 4)
    except (OSError, ValueError) as error:  # what is no address, and where nobody answers
        raise SimulationError(
            f"no cluster answers at {address} ({str(error) or type(error).__name__}): expected the address that "
            "dask scheduler prints, for example tcp://host:8786, or local"
        ) from error
    with client:
        yield client


def run_on_cluster(
    tasks: Iterable[Task],
    runner: Runner,
    *,
    client: "Client",
    record: Callable[[RunResult], None],
    limit: TimeLimit | None = None,
) -> None:
    """Like :func:`~scenariogen.evaluation.batch.run_tasks`, on the workers of a cluster."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    pending = Pending(tasks, record, limit)
    running: dict[Future, Task] = {}
    seen = time.monotonic()
    number = 0
    try:
        while pending or running:
            while len(running) < 2 * _threads(client) and pending:
                task = pending.pop()
                number += 1
                key = f"run-{number}-{task.key}"
                running[client.submit(run_in_outpost, runner, task, key=key, pure=False)] = task
            done = _finished(running) if running else ()
            seen = time.monotonic() if done or _threads(client) else seen
            _still_there(client, seen)
            for future in done:
                task = running.pop(future)
                try:
                    run = future.result()
                except KilledWorker as error:
                    run = task.failed(EndReason.SIMULATOR_DIED, f"its workers died ({error.last_worker})")
                except FutureCancelledError as error:
                    raise SimulationError(_gone("the connection is lost")) from error
                pending.ended(task, run)
    finally:
        client.cancel(list(running))


def _finished(futures: Iterable["Future"]) -> Iterable["Future"]:
    """Those that ended, after at most :data:`LOOK_EVERY_S` seconds."""
    from distributed import wait

    try:
        found: Any = wait(list(futures), timeout=LOOK_EVERY_S, return_when="FIRST_COMPLETED")
    except TimeoutError:
        return ()
    return found.done


def _threads(client: "Client") -> int:
    return sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())


def _still_there(client: "Client", seen: float) -> None:
    if client.status not in ("running", "connecting"):
        raise SimulationError(_gone(f"it is {client.status}"))
    if time.monotonic() - seen > PATIENCE_S:
        raise SimulationError(_gone(f"it has had no worker for {PATIENCE_S:.0f} s"))
    if not _threads(client):
        time.sleep(0.2)


def _gone(how: str) -> str:
    return (
        f"the cluster does not go on: {how}; what was finished is kept: run the same command again when it is back, or "
        "without --cluster"
    )


def check_workers(
    client: "Client", runner: Runner, policies: Sequence[PolicyReference], versions: dict[str, str]
) -> None:
    """Raise a ``SimulationError`` that lists what each worker lacks: project, policies or the same versions."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    except TimeoutError as error:
        raise SimulationError(_gone(f"it has no worker after {PATIENCE_S:.0f} s")) from error
    problems = Problems("the workers of the cluster cannot make these runs")
    answers: Any = client.run(lacking_here, runner, tuple(policies), versions)
    for worker, found in answers.items():
        problems.extend(f"{worker}: {each}" for each in found)
    problems.raise_as(SimulationError)


def lacking_here(runner: Runner, policies: Sequence[PolicyReference], versions: dict[str, str]) -> list[str]:
    """What this machine lacks to make the runs of somewhere else."""
    found = [
        f"{package} {installed(package)} is installed, expected {asked}"
        for package, asked in versions.items()
        if installed(package) != asked
    ]
    for policy in policies:
        try:
            if policy.sha256_now() != policy.sha256:
                found.append(f"the policy {policy.spec} has another content there")
            else:
                policy.create()
        except ScenariogenError as error:
            found.append(f"the policy {policy.spec}: {error}")
    problem = getattr(runner, "problem", None)
    return found if problem is None or not (said := problem()) else [*found, said]
