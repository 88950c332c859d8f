"""Killing a program, at a random moment or while it writes."""
from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.kills.starting import Program

PAUSE = 3e-4  # seconds between two looks at the folder
FILES = ('.pth', '.partial', 'result.json', 'comparison.json', '_sweep.json', 'robustness.json', '.png',
         '.csv', 'last_checkpoint', 'started')


@dataclass
class Ending:
    """How a program came to its end.

    Attributes:
        status: Exit status; None if it was killed.
        seconds: How long it ran.
        moment: What it was killed at, in words; ``''`` if it was not.
    """

    status: int | None
    seconds: float
    moment: str = ''


def run(steps: Sequence[Sequence[str]], log: Path, folder: Path | None = None,
        rng: random.Random | None = None, usual: float = 0.0, first_write: float = 0.0) -> Ending:
    """Run programs one after the other, to the end or until they are killed with all they have started.

    Args:
        steps: Python programs and their arguments.
        log: What its output is added to.
        folder: Where it writes.
        rng: Draws the moment of the kill; None to let it end.
        usual: Seconds it takes undisturbed.
        first_write: Seconds after which it writes its first file, undisturbed.
    """
    start = time.monotonic()
    program = Program(steps, log)
    try:
        moment = '' if rng is None else _await(program, folder, rng, usual, first_write)
        if program.poll() is None and moment:
            _kill(program)
            return Ending(None, time.monotonic() - start, moment)
        return Ending(program.wait(), time.monotonic() - start)
    finally:
        _kill(program)


def _await(program: Program, folder: Path, rng: random.Random, usual: float,
           first_write: float) -> str:
    """Wait for the moment of the kill; ``''`` if the program ends before."""
    start, writing = time.monotonic(), rng.random() < 0.6
    # From the time the first file is due; sometimes in its start-up, too.
    after = rng.uniform(rng.choice([0.0, 0.9 * first_write, 0.9 * first_write]), 0.95 * usual)
    changes, delay = rng.randint(1, 4), rng.choice([0.0, 0.0, 1e-3, 4e-3])
    while time.monotonic() - start < after:
        if program.poll() is not None:
            return ''
        time.sleep(0.002)
    return _await_writing(program, folder, changes, delay) if writing else f'{after:.1f} s'


def _await_writing(program: Program, folder: Path, changes: int, delay: float) -> str:
    seen = _files(folder)
    while program.poll() is None:
        now = _files(folder)
        changed = [path for path in now if now[path] != seen.get(path)]
        changed += [path for path in seen if path not in now]
        seen, changes = now, changes - len(changed)
        if changed and changes <= 0:
            time.sleep(delay)
            return f'{Path(changed[-1]).name} changing'
        time.sleep(PAUSE)
    return ''


def _files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Size, time and inode of the files below a folder that matter."""
    found: dict[str, tuple[int, int, int]] = {}
    stack = [str(folder)]
    while stack:
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                elif entry.name.endswith(FILES):
                    with suppress(OSError):
                        status = entry.stat()
                        found[entry.path] = status.st_size, status.st_mtime_ns, status.st_ino
    return found


def _kill(program: Program) -> None:
    """As a power cut does: the program and all it has started, at once."""
    family = [program.pid, *_descendants(program.pid)] if program.poll() is None else []
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, none sees another one die
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        family += [pid for pid in _descendants(program.pid) if pid not in family]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    program.wait()


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path('/proc').iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError):
                parent = int((entry / 'stat').read_text().rpartition(')')[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, stack = [], [pid]
    while stack:
        for child in children.get(stack.pop(), []):
            found.append(child)
            stack.append(child)
    return found
