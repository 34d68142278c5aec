"""SIGINT and SIGTERM are noted once; the second does what it always did."""

import signal
import threading

import pytest

from robertakit.training.stopping import StopRequest


@pytest.mark.parametrize("number", StopRequest.SIGNALS)
def test_the_first_is_noted_and_the_second_has_its_usual_effect(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, frame: heard.append(number))
    try:
        with StopRequest() as stop:
            assert stop.asked is None
            signal.raise_signal(number)
            assert stop.asked == number.name
            assert heard == []
            signal.raise_signal(number)
            assert heard == [number]
    finally:
        signal.signal(number, before)


def test_a_second_ctrl_c_interrupts() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in StopRequest.SIGNALS]

    def fail() -> None:
        with StopRequest():
            assert [signal.getsignal(number) for number in StopRequest.SIGNALS] != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [signal.getsignal(number) for number in StopRequest.SIGNALS] == before


def test_in_another_thread_there_is_nothing_to_note() -> None:
    asked: list[object] = []

    def work() -> None:
        with StopRequest() as stop:
            asked.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [None]
