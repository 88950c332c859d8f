"""Signs of life of what is silent for minutes."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signs_of_life(what: str, pause: float = 20.0) -> Iterator[None]:
    """Within the context, print now and then that it goes on.

    Args:
        what: What goes on, in words.
        pause: Seconds between two lines.
    """
    print(f'{what} ...', flush=True)
    start, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(pause):
            print(f'{what}: {time.monotonic() - start:.0f} s so far', flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
