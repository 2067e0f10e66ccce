"""Parallel work: in order, and a process that dies takes nothing else with it."""

import os
import time

import pytest

from scenariogen.recording.workers import Workers


def slower_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0)
    return number


def dies_at_two(number: int) -> int:
    if number == 2:
        os._exit(11)
    return number


def raises(number: int) -> int:
    raise ValueError(f"task {number}")


held: list[bytearray] = []  # in a worker


def keeps_a_lot(number: int) -> int:
    """What a process has, as after a day of trajectories, without a day."""
    held.append(bytearray(200_000_000))
    time.sleep(1.1)
    return number


def no_loss(task: int, why: str) -> int:
    raise AssertionError(f"{task} was lost: {why}")


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs):
    with Workers(jobs) as workers:
        assert list(workers.in_order(slower_first, range(7), when_lost=no_loss)) == list(range(7))
        assert list(workers.in_order(slower_first, range(2), when_lost=no_loss)) == [0, 1]


def test_only_the_task_whose_process_dies_is_lost():
    lost = []
    with Workers(2) as workers:
        found = list(workers.in_order(dies_at_two, range(5), when_lost=lambda *loss: lost.append(loss) or -1))
    assert found == [0, 1, -1, 3, 4]
    assert [task for task, _ in lost] == [2] and "died" in lost[0][1]


def test_what_the_work_raises_is_raised_here():
    with pytest.raises(ValueError, match="task 0"), Workers(1) as workers:
        list(workers.in_order(raises, range(3), when_lost=no_loss))


def test_a_process_that_has_grown_is_replaced_without_a_word(recwarn):
    with Workers(1) as workers:
        assert list(workers.in_order(keeps_a_lot, range(5), when_lost=no_loss)) == list(range(5))
    assert [str(each.message) for each in recwarn] == []
