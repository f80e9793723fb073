"""What a long command runs beside itself: work on a thread, and the signals that end it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Beside:
    """Work on a thread for as long as a block runs; its failure ends the block."""

    def __init__(self, work: Callable[[threading.Event], None], stop: threading.Event) -> None:
        """Prepare.

        Args:
            work: runs until the event is set.
            stop: set when the block ends, when the work fails, or by a signal.
        """
        self.stop = stop
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="beside")

    def __enter__(self) -> Beside:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work(self.stop)
        except BaseException as error:  # kept for the command's own thread
            self.error = error
            self.stop.set()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set; a second one ends the process."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    held = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
