"""The timers on gevent's own loop: no moment is missed, and it is slept for what is far and not for what is near."""

from __future__ import annotations

import ctypes
import sys
import time

import gevent
import pytest

from chatload import timer

linux = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")


class Waiter:
    """Waits for moments one after the other, as the dispatcher does; notes how often it was called and when each came."""

    def __init__(self, kind, moments_s: list[float]) -> None:
        self.calls = 0
        self.reached_s: list[float] = []
        self._moments_s = list(moments_s)
        self.timer = kind(gevent.get_hub().loop, self._wake)
        self._arm()

    def _wake(self) -> None:
        self.calls += 1
        while self._moments_s and self._moments_s[0] <= time.perf_counter():
            self._moments_s.pop(0)
            self.reached_s.append(time.perf_counter())
        self._arm()

    def _arm(self) -> None:
        if self._moments_s:
            self.timer.arm(self._moments_s[0])
        else:
            self.timer.disarm()

    def wait(self, count: int) -> None:
        deadline_s = time.perf_counter() + 5
        while len(self.reached_s) < count and time.perf_counter() < deadline_s:
            gevent.sleep(0.001)
        self.timer.close()


KINDS = [pytest.param(timer.TimerFd, marks=linux), timer.LoopTimer]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap_s", [0.0, 5e-6, 15e-6, 1e-3, 20e-3])
def test_no_moment_is_missed(kind, gap_s):
    start_s = time.perf_counter() + 0.01
    moments_s = [start_s + number * gap_s for number in range(20)]
    waiter = Waiter(kind, moments_s)
    waiter.wait(20)
    assert len(waiter.reached_s) == 20


@linux
def test_a_far_moment_is_slept_for():
    waiter = Waiter(timer.TimerFd, [time.perf_counter() + after_s for after_s in (0.0, 0.1, 0.2)])
    waiter.wait(3)
    assert waiter.calls < 1_000  # the last 0.2 ms are waited for awake; all of it would take ten thousands
    assert waiter.timer.spare_s < 0.01


@linux
def test_the_end_of_a_long_wait_is_waited_for_awake(monkeypatch):
    monkeypatch.setattr(timer, "_EARLY_SHARE", 0.8)
    monkeypatch.setattr(timer, "_EARLIEST_S", 10.0)
    monkeypatch.setattr(timer, "_LOOK_S", 10.0)
    waiter = Waiter(timer.TimerFd, [time.perf_counter() + after_s for after_s in (0.0, 0.2)])
    waiter.wait(2)
    assert waiter.calls > 20
    assert 0.05 < waiter.timer.spare_s < 0.2


@linux
def test_a_long_sleep_ends_early_and_waits_awake(monkeypatch):
    slept_s: list[float] = []
    monkeypatch.setattr(timer, "_EARLY_SHARE", 0.8)
    monkeypatch.setattr(timer, "_EARLIEST_S", 10.0)
    monkeypatch.setattr(timer, "_sleep", slept_s.append)
    waiter = Waiter(timer.TimerFd, [])
    until_s = time.perf_counter() + 0.2
    waiter.timer.sleep(until_s)
    assert time.perf_counter() >= until_s
    assert slept_s == [pytest.approx(0.04, rel=0.5)]
    waiter.wait(0)


@linux
def test_time_that_another_process_had_is_not_spare(monkeypatch):
    monkeypatch.setattr(timer, "_NEAR_S", 10.0)
    monkeypatch.setattr(timer, "_LOOK_S", 0.0)
    waiter = Waiter(timer.TimerFd, [])
    waiter.timer.sleep(time.perf_counter() + 0.01)
    assert waiter.timer.spare_s == 0.0
    waiter.wait(0)


@linux
def test_only_the_moment_that_it_was_woken_for_is_waited_for_awake(monkeypatch):
    monkeypatch.setattr(timer, "_EARLY_SHARE", 0.8)
    monkeypatch.setattr(timer, "_EARLIEST_S", 10.0)
    slept_s: list[float] = []
    monkeypatch.setattr(timer, "_sleep", slept_s.append)
    after_s = time.perf_counter() + 0.1

    def wake() -> None:
        alarm.sleep(after_s)
        alarm.sleep(after_s + 0.05)
        alarm.disarm()

    alarm = timer.TimerFd(gevent.get_hub().loop, wake)
    alarm.arm(after_s)
    gevent.sleep(0.3)
    alarm.close()
    assert slept_s == [pytest.approx(0.01, rel=0.5)]


@linux
def test_who_was_woken_early_is_not_put_to_sleep_again(monkeypatch):
    monkeypatch.setattr(timer, "_EARLY_SHARE", 0.8)
    monkeypatch.setattr(timer, "_EARLIEST_S", 10.0)
    monkeypatch.setattr(timer, "_sleep", lambda rest_s: pytest.fail("slept without the loop"))
    until_s = time.perf_counter() + 0.2
    woken: list[float] = []

    def wake() -> None:
        woken.append(time.perf_counter())
        alarm.sleep(until_s)
        alarm.disarm()

    alarm = timer.TimerFd(gevent.get_hub().loop, wake)
    alarm.arm(until_s)
    gevent.sleep(0.3)
    alarm.close()
    assert len(woken) == 1
    assert woken[0] < until_s
    assert alarm.spare_s > 0.05


@pytest.mark.parametrize(
    ("rest_s", "early_s"), [(-1.0, 0.0), (20e-6, 0.0), (400e-6, 0.0), (1e-3, 50e-6), (4e-3, 200e-6), (60.0, 200e-6)]
)
def test_a_sleep_ends_early_by_a_twentieth_of_it_and_at_most_200_us(rest_s, early_s):
    assert timer._early_s(rest_s) == pytest.approx(early_s)


@linux
def test_a_near_moment_is_waited_for_awake(monkeypatch):
    # So far ahead that no pause of this process makes the difference.
    monkeypatch.setattr(timer, "_NEAR_S", 10.0)
    monkeypatch.setattr(timer, "_LOOK_S", 10.0)
    waiter = Waiter(timer.TimerFd, [time.perf_counter() + after_s for after_s in (0.0, 0.1)])
    waiter.wait(2)
    assert waiter.calls > 20
    assert 0.05 < waiter.timer.spare_s < 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ahead_s", [-1.0, 0.0, 10e-6, 5e-3])
def test_a_sleep_ends_at_its_moment_without_a_turn_of_the_loop(kind, ahead_s):
    waiter = Waiter(kind, [time.perf_counter()])
    until_s = time.perf_counter() + ahead_s
    waiter.timer.sleep(until_s)
    assert until_s <= time.perf_counter() < until_s + max(-ahead_s, 0.0) + 1.0
    assert waiter.calls == 0
    waiter.wait(1)


@linux
def test_only_what_a_sleep_waits_awake_is_spare_time(monkeypatch):
    waiter = Waiter(timer.TimerFd, [])
    waiter.timer.sleep(time.perf_counter() + 0.05)
    assert waiter.timer.spare_s < 0.025
    waiter.wait(0)
    monkeypatch.setattr(timer, "_NEAR_S", 10.0)
    monkeypatch.setattr(timer, "_LOOK_S", 10.0)
    waiter = Waiter(timer.TimerFd, [])
    waiter.timer.sleep(time.perf_counter() + 0.05)
    assert 0.04 < waiter.timer.spare_s < 1.0
    waiter.wait(0)


@linux
def test_the_kernel_is_asked_to_end_sleeps_in_time():
    timer.TimerFd(gevent.get_hub().loop, lambda: None).close()
    slack = ctypes.CDLL(None).prctl(30, 0, 0, 0, 0)  # PR_GET_TIMERSLACK
    assert slack == 1


@linux
def test_after_a_disarming_nothing_rings():
    waiter = Waiter(timer.TimerFd, [time.perf_counter()])
    while not waiter.reached_s:
        gevent.sleep(0.001)
    calls = waiter.calls
    gevent.sleep(0.02)
    assert waiter.calls == calls
    waiter.timer.arm(time.perf_counter() + 0.005)
    gevent.sleep(0.02)
    assert waiter.calls == calls + 1
    waiter.timer.close()


def test_the_finest_timer_of_this_machine_is_taken():
    made = timer.make(gevent.get_hub().loop, lambda: None)
    assert made.name == ("timerfd" if sys.platform == "linux" else "event loop (1 ms)")
    made.close()
