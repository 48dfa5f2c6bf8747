"""Turns: a call runs beside no read, nobody waits for ever, and an interruption gives them back."""

import contextlib
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from seqframe.backend import locks
from seqframe.backend.locks import between_calls, call_program

pytestmark = pytest.mark.once

KINDS = {"call": call_program, "read": between_calls}


def is_free():
    return not (locks._waiting or locks._running or locks._brief)


class InterruptionError(Exception):
    pass


def interrupt(number, frame):
    raise InterruptionError


@pytest.mark.parametrize("kind", KINDS)
def test_an_interruption_at_any_instant_gives_the_turn_back(kind):
    draws = random.Random(0)
    before = signal.signal(signal.SIGALRM, interrupt)
    count = 0
    try:
        for _ in range(5_000):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, draws.uniform(1e-6, 1e-4))
                    for _ in range(10):
                        KINDS[kind](lambda: KINDS[kind](int))
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except InterruptionError:
                count += 1
            assert is_free()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert count > 100


def test_a_call_runs_beside_no_read_and_nobody_waits_for_ever():
    active = {"call": 0, "read": 0}
    lock = threading.Lock()
    wrong = []

    def work(number):
        draws = random.Random(number)
        for k in range(300):
            kind = "call" if draws.random() < 0.2 else "read"

            def function(kind=kind, k=k):
                with lock:
                    active[kind] += 1
                if active["call"] and active["read"]:
                    wrong.append(kind)
                sum(range(draws.choice([0, 0, 500])))
                if draws.random() < 0.1:
                    between_calls(int)  # part of it: it need not wait
                with lock:
                    active[kind] -= 1
                if k % 50 == 7:
                    raise InterruptionError

            with contextlib.suppress(InterruptionError):
                KINDS[kind](function)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work, number) for number in range(8)]
        for future in futures:
            future.result(timeout=60)
    assert is_free()
    assert not wrong


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_waits_for_the_end_of_the_other_kind(kind):
    other = {"call": "read", "read": "call"}[kind]
    has_begun, may_end, order = threading.Event(), threading.Event(), []

    def first():
        has_begun.set()
        may_end.wait(10)
        order.append("first")

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(KINDS[other], first)
        assert has_begun.wait(10)
        two = pool.submit(KINDS[kind], lambda: order.append("second"))
        assert not two.done()
        may_end.set()
        one.result(10), two.result(10)
    assert order == ["first", "second"]
