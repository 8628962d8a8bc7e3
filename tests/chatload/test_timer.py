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


class Clock:
    """Moves by ``look_s`` with each look at it, and by what is slept."""

    def __init__(self, monkeypatch, look_s: float = 1e-6) -> None:
        self.now_s = 1_000.0
        self.look_s = look_s
        self.slept_s: list[float] = []
        monkeypatch.setattr(timer, "time", self)
        monkeypatch.setattr(timer, "_sleep", self.sleep)

    def perf_counter(self) -> float:
        self.now_s += self.look_s
        return self.now_s

    def sleep(self, rest_s: float) -> None:
        self.slept_s.append(rest_s)
        self.now_s += rest_s


@pytest.fixture
def alarm():
    made = timer.TimerFd(gevent.get_hub().loop, lambda: None)
    yield made
    made.close()


@linux
def test_a_long_sleep_ends_early_and_waits_awake(alarm, monkeypatch):
    clock = Clock(monkeypatch)
    alarm.sleep(clock.now_s + 2e-3)
    assert clock.now_s == pytest.approx(1_000.002, abs=2e-6)
    assert clock.slept_s == [pytest.approx(1.9e-3, abs=2e-6)]
    assert alarm.spare_s == pytest.approx(100e-6, abs=3e-6)


@linux
def test_time_that_another_process_had_is_not_spare(alarm, monkeypatch):
    clock = Clock(monkeypatch, look_s=7e-6)
    alarm.sleep(clock.now_s + 2e-3)
    assert clock.now_s >= 1_000.002
    assert alarm.spare_s == 0.0


@linux
def test_only_the_moment_that_it_was_woken_for_is_waited_for_awake(alarm, monkeypatch):
    clock = Clock(monkeypatch)
    first_s = clock.now_s + 4e-3
    alarm.arm(first_s)
    alarm.sleep(first_s)  # it has not rung
    assert clock.slept_s == [pytest.approx(3.8e-3, abs=5e-6)]
    clock.now_s, clock.slept_s = first_s - 200e-6, []
    alarm.sleep(first_s)
    assert clock.slept_s == []
    alarm.sleep(first_s + 150e-6)
    assert clock.slept_s == [pytest.approx(150e-6, abs=3e-6)]


@linux
def test_who_was_woken_early_is_not_put_to_sleep_again(monkeypatch):
    monkeypatch.setattr(timer, "_EARLY_SHARE", 0.95)
    monkeypatch.setattr(timer, "_EARLIEST_S", 10.0)
    monkeypatch.setattr(timer, "_sleep", lambda rest_s: pytest.fail("slept without the loop"))
    until_s = time.perf_counter() + 0.5  # woken after 0.025 s: a pause of this process makes no difference
    woken: list[float] = []
    waited: list[float] = []

    def wake() -> None:
        woken.append(time.perf_counter())
        alarm.sleep(until_s)
        waited.append(time.perf_counter())
        alarm.disarm()

    alarm = timer.TimerFd(gevent.get_hub().loop, wake)
    alarm.arm(until_s)
    gevent.sleep(0.6)
    alarm.close()
    assert len(woken) == 1
    assert woken[0] < until_s <= waited[0]
    assert alarm.spare_s > 0  # of a core that another process shares it may be little


@pytest.mark.parametrize(
    ("rest_s", "early_s"), [(-1.0, 0.0), (20e-6, 0.0), (400e-6, 0.0), (1e-3, 50e-6), (4e-3, 200e-6), (60.0, 200e-6)]
)
def test_a_sleep_ends_early_by_a_twentieth_of_it_and_at_most_200_us(rest_s, early_s):
    assert timer._early_s(rest_s) == pytest.approx(early_s)


@linux
@pytest.mark.parametrize("settings", [{"_NEAR_S": 10.0}, {"_EARLY_SHARE": 0.8, "_EARLIEST_S": 10.0}], ids=["near", "end"])
def test_a_near_moment_and_the_end_of_a_long_wait_are_waited_for_awake(monkeypatch, settings):
    # So far ahead that no pause of this process makes the difference.
    for name, value in {**settings, "_LOOK_S": 10.0}.items():
        monkeypatch.setattr(timer, name, value)
    waiter = Waiter(timer.TimerFd, [time.perf_counter() + after_s for after_s in (0.0, 0.2)])
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


def awake(loop, callback):
    return timer.TimerFd(loop, callback, awake=True)


@linux
def test_who_is_to_stay_awake_sleeps_for_nothing(monkeypatch):
    monkeypatch.setattr(timer, "_sleep", lambda rest_s: pytest.fail("slept"))
    monkeypatch.setattr(timer, "_LOOK_S", 10.0)  # how fast this machine looks is no matter
    start_s = time.perf_counter()
    moments_s = [start_s + after_s for after_s in (0.0, 0.05, 0.2)]
    waiter = Waiter(awake, moments_s)
    waiter.timer.sleep(start_s + 0.01)
    waiter.wait(3)
    assert all(reached_s >= moment_s for moment_s, reached_s in zip(moments_s, waiter.reached_s, strict=True))
    assert waiter.calls > 1_000
    assert waiter.timer.spare_s > 0.1


@linux
def test_who_is_to_stay_awake_rests_when_there_is_nothing_to_wait_for():
    waiter = Waiter(awake, [time.perf_counter()])
    while not waiter.reached_s:
        gevent.sleep(0.001)
    calls = waiter.calls
    gevent.sleep(0.05)
    assert waiter.calls == calls
    waiter.timer.close()


@linux
def test_the_header_says_who_stays_awake():
    made = timer.make(gevent.get_hub().loop, lambda: None, awake=True)
    assert made.name == "timerfd, awake"
    made.close()


def test_the_finest_timer_of_this_machine_is_taken():
    made = timer.make(gevent.get_hub().loop, lambda: None)
    assert made.name == ("timerfd" if sys.platform == "linux" else "event loop (1 ms)")
    made.close()
