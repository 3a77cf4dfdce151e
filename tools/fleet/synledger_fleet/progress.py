"""What is being done, on a terminal."""

import sys
import threading
import time


class Progress:
    """A line on standard error that is renewed while a block runs, where that is a terminal."""

    def __init__(self, what: str, stream=None):
        self.what = what
        self.stream = stream or sys.stderr
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None

    def __enter__(self) -> "Progress":
        if self.stream.isatty():
            self.thread = threading.Thread(target=self._renew, daemon=True)
            self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        if self.thread:
            self.thread.join()
            self._clear()

    def _renew(self) -> None:
        begin = time.monotonic()
        # Nothing is shown of what is quick.
        while not self.ended.wait(0.4):
            self.stream.write(f"\r\x1b[K{self.what}: {time.monotonic() - begin:.0f} s")
            self.stream.flush()

    def _clear(self) -> None:
        self.stream.write("\r\x1b[K")
        self.stream.flush()
