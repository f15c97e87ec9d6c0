from __future__ import annotations

import threading

import pytest

from ragkit.errors import ContextLengthError, EngineError, EngineUnavailableError, RequestRefusedError
from ragkit.serve.engines.circuit_breaker import CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make(failures: int = 3, open_s: float = 10) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    return CircuitBreaker(failures, open_s, clock=clock), clock


def fail(breaker: CircuitBreaker, error: BaseException | None = None) -> None:
    error = error or EngineError("broken")
    with pytest.raises(type(error)), breaker.call("m"):
        raise error


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.call("m"):
        pass


def test_it_opens_after_failures_in_a_row_and_fails_at_once() -> None:
    breaker, clock = make()
    fail(breaker)
    fail(breaker)
    succeed(breaker)
    fail(breaker)
    fail(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    assert (breaker.state, breaker.retry_after_s) == ("open", 10)
    clock.now += 4
    with pytest.raises(EngineUnavailableError, match="m failed too often") as caught, breaker.call("m"):
        pytest.fail("it was let through")
    assert caught.value.retry_after_s == 6


def test_one_call_tries_it_and_closes_it() -> None:
    breaker, clock = make(failures=1)
    fail(breaker)
    clock.now += 10
    assert (breaker.state, breaker.retry_after_s) == ("half-open", 0)
    with breaker.call("m"), pytest.raises(EngineUnavailableError), breaker.call("m"):
        pytest.fail("two were let through")
    assert breaker.state == "closed"


def test_one_call_that_fails_opens_it_again() -> None:
    breaker, clock = make(failures=5)
    for _ in range(5):
        fail(breaker)
    clock.now += 10
    fail(breaker)
    assert (breaker.state, breaker.retry_after_s) == ("open", 10)


def test_a_trial_that_is_given_up_counts_as_nothing() -> None:
    breaker, clock = make(failures=1)
    fail(breaker)
    clock.now += 10
    fail(breaker, KeyboardInterrupt())
    assert breaker.state == "half-open"
    succeed(breaker)
    assert breaker.state == "closed"


def test_others_need_not_wait_for_the_end_of_a_long_trial() -> None:
    breaker, clock = make(failures=3)
    for _ in range(3):
        fail(breaker)
    clock.now += 10
    with pytest.raises(EngineError, match="in the middle"), breaker.call("m") as trial:
        trial.answered()
        assert breaker.state == "closed"
        with breaker.call("m"):
            raise EngineError("in the middle")
    assert breaker.state == "open"


def test_one_that_breaks_in_the_middle_again_and_again_opens_it() -> None:
    breaker, _ = make()
    for _ in range(3):
        with pytest.raises(EngineError), breaker.call("m") as call:
            call.answered()
            raise EngineError("in the middle")
    assert breaker.state == "open"


@pytest.mark.parametrize("error", [ContextLengthError("long"), RequestRefusedError("no such field")])
def test_what_the_asker_can_mend_is_no_failure(error: EngineError) -> None:
    breaker, _ = make(failures=2)
    fail(breaker)
    fail(breaker, error)
    fail(breaker)
    assert breaker.state == "closed"


def test_a_server_with_too_much_to_do_is_not_left_alone() -> None:
    breaker, clock = make(failures=1)
    busy = EngineUnavailableError("429", 1, is_busy=True)
    fail(breaker, busy)
    assert breaker.state == "closed"
    fail(breaker, EngineUnavailableError("refused"))
    clock.now += 10
    fail(breaker, busy)
    assert breaker.state == "half-open"


def test_calls_from_before_say_nothing_of_the_server_as_it_is() -> None:
    breaker, clock = make(failures=1)
    with pytest.raises(EngineError, match="old"), breaker.call("m"):
        fail(breaker)
        clock.now += 10
        succeed(breaker)
        raise EngineError("old")
    assert breaker.state == "closed"
    with breaker.call("m"):
        fail(breaker)
    assert breaker.state == "open"


def test_reset_closes_it() -> None:
    breaker, _ = make(failures=1)
    fail(breaker)
    breaker.reset()
    succeed(breaker)
    assert breaker.state == "closed"


def test_of_many_threads_one_tries() -> None:
    breaker, clock = make(failures=1)
    fail(breaker)
    clock.now += 10
    start, refused, entered = threading.Barrier(16), [], []
    done = threading.Event()

    def ask() -> None:
        start.wait()
        try:
            with breaker.call("m"):
                entered.append(1)
                done.wait(5)
        except EngineUnavailableError:
            refused.append(1)
            if len(refused) == 15:
                done.set()

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(entered), len(refused)) == (1, 15)
