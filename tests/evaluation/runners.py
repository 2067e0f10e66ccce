"""Runners for tests: they make results without simulating, and misbehave on request. Worker processes import them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import RunResult
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import EndReason

POLICY = PolicyReference(name="paper", spec="nowhere.py", sha256="0" * 64)


def tasks(n, folder: Path, *, policy=POLICY):
    """Tasks for ``n`` scenarios."""
    return [
        Task(key=f"key{i:04d}", scenario=Scenario(index=i, seed=i), policy=policy, replica=0, seed=i, folder=folder)
        for i in range(n)
    ]


def result(task: Task) -> RunResult:
    """A finished run whose delay depends on the scenario alone."""
    delay = (task.scenario.seed * 2654435761 % 1000) / 7.0
    return RunResult(
        **task.identity(),
        end_reason=EndReason.HORIZON,
        system_delay_veh_h=delay,
        time_veh_h=delay + 1.0,
        free_flow_veh_h=1.0,
        wall_s=0.01,
    )


@dataclass(frozen=True)
class Paper:
    """Waits a little, then gives a result; kills its process, or raises, on the scenarios it is told to."""

    wait_s: float = 0.0
    dies_on: tuple[int, ...] = ()
    dies_once_on: tuple[int, ...] = ()
    raises_on: tuple[int, ...] = ()
    by_signal: int = 0
    notes: Path | None = None

    def __call__(self, task: Task) -> RunResult:
        number = task.scenario.index
        if self.notes is not None:
            with (self.notes / f"{number}").open("a") as note:
                note.write(f"{os.getpid()}\n")
        time.sleep(self.wait_s)
        if number in self.dies_on:
            self._die()
        if number in self.dies_once_on and self.notes is not None and not (self.notes / f"died{number}").exists():
            (self.notes / f"died{number}").touch()
            self._die()
        if number in self.raises_on:
            raise RuntimeError(f"a fault of ours in scenario {number}")
        return result(task)

    def _die(self) -> None:
        if self.by_signal:
            os.kill(os.getpid(), self.by_signal)
            time.sleep(10)
        os._exit(3)


@dataclass(frozen=True)
class Threads:
    """Says in its error text how many threads its process may use, and what it imported."""

    def __call__(self, task: Task) -> RunResult:
        import sys

        heavy = sorted({"torch", "libsumo", "traci", "scipy"} & set(sys.modules))
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return task.failed(EndReason.SIMULATOR_DIED, f"{os.environ['OMP_NUM_THREADS']} {heavy} {ignored}")
