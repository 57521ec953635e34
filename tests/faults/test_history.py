"""The checker itself, on histories made by hand."""

import pytest

from tests.faults.history import (
    Event,
    Movement,
    ended_otherwise,
    not_once,
    over_the_ceiling,
    peaks,
    read_events,
)

CEILINGS = {1: 100, 2: 1000}


def admit(at, name, amount, counter=1):
    return Event(at, "admit", name, ((counter, amount),))


def end(at, name, amount, counter=1):
    return Event(at, "end", name, ((counter, amount),))


def test_calls_that_fit_one_after_another_pass():
    history = [admit(1, "a", 60), end(2, "a", 40), admit(3, "b", 60), end(4, "b", 60)]
    assert over_the_ceiling(history, [], CEILINGS) == []
    assert peaks(history, CEILINGS)[0].most == 100


def test_calls_of_two_workers_that_do_not_fit_together_are_found():
    history = [admit(1, "a", 60), admit(2, "b", 60), end(3, "a", 10), end(4, "b", 10)]
    assert over_the_ceiling(history, [], CEILINGS) == ["counter 1: calls held 120 of 100"]


def test_the_order_is_that_of_the_clock_not_of_the_files():
    history = [admit(3, "b", 60), end(4, "b", 60), admit(1, "a", 60), end(2, "a", 40)]
    assert over_the_ceiling(history, [], CEILINGS) == []


def test_what_was_charged_counts_for_ever():
    history = [admit(1, "a", 60), end(2, "a", 60), admit(3, "b", 60)]
    assert over_the_ceiling(history, [], CEILINGS)


def test_an_end_that_is_told_twice_is_charged_once():
    history = [admit(1, "a", 60), end(2, "a", 60), end(3, "a", 60)]
    assert over_the_ceiling(history, [], CEILINGS) == []


def test_an_end_whose_admission_was_not_recorded_is_charged():
    assert over_the_ceiling([end(2, "a", 101)], [], CEILINGS)


def test_a_counter_that_was_too_high_for_a_moment_is_found():
    moved = [Movement(1, 90, 100), Movement(1, 110, 100), Movement(1, 101, 100)]
    assert over_the_ceiling([], moved, CEILINGS) == ["counter 1: 110 were taken of 100"]


@pytest.mark.parametrize(
    ("rows", "found"),
    [(["a"], []), ([], ["a: 0 rows"]), (["a", "a"], ["a: 2 rows"]), (["a", "b"], [])],
)
def test_a_finished_call_is_there_exactly_once(rows, found):
    assert not_once(["a"], rows) == found


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("a", 0)], []),
        ([("a", 0), ("a", 1)], []),
        ([], ["a: entries []"]),
        ([("a", 1)], ["a: entries [1]"]),
        ([("a", 0), ("a", 0)], ["a: entries [0, 0]"]),
    ],
)
def test_an_admitted_call_ends_once(rows, found):
    assert ended_otherwise([admit(1, "a", 1)], rows) == found


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path):
    (tmp_path / "7.history").write_bytes(b'[2,"admit","a",[[1,5]]]\n[3,"end","a",[[1')
    assert read_events(tmp_path) == [admit(2, "a", 5)]
