"""Starting a program in a process group of its own and killing it, at a random moment or while it writes."""
from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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


def run(command: Sequence[str], log: Path, environment: dict[str, str], folder: Path | None = None,
        rng: random.Random | None = None, usual: float = 0.0, first_write: float = 0.0) -> Ending:
    """Run a program, to its end or until it is killed with everything it has started.

    Args:
        command: Program and arguments.
        log: What its output is added to.
        environment: Variables besides this process's.
        folder: Where it writes.
        rng: Draws the moment of the kill; None to let it end.
        usual: Seconds it takes undisturbed.
        first_write: Seconds after which it writes its first file, undisturbed.
    """
    with log.open('a') as stream:
        stream.write(f'$ {" ".join(command)}\n')
        stream.flush()
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, 'OMP_NUM_THREADS': '1', **environment})
        try:
            moment = '' if rng is None else _await(process, folder, rng, usual, first_write)
            if process.poll() is None and moment:
                _kill(process)
                return Ending(None, time.monotonic() - start, moment)
            return Ending(process.wait(), time.monotonic() - start)
        finally:
            _kill(process)


def _await(process: subprocess.Popen, folder: Path, rng: random.Random, usual: float,
           first_write: float) -> str:
    """Wait for the moment of the kill; ``''`` if the program ends before."""
    start = time.monotonic()
    if rng.random() < 0.4:
        # From the time the first file is due; sometimes in its start-up, too.
        after = rng.uniform(rng.choice([0.0, first_write, first_write]), usual)
        while process.poll() is None:
            if time.monotonic() - start >= after:
                return f'{after:.1f} s'
            time.sleep(0.005)
        return ''
    return _await_writing(process, folder, rng.randint(1, 12), rng.choice([0.0, 0.0, 1e-3, 4e-3]))


def _await_writing(process: subprocess.Popen, folder: Path, changes: int, delay: float) -> str:
    seen = _files(folder)
    while process.poll() is None:
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


def _kill(process: subprocess.Popen) -> None:
    """As a power cut does: the program and all it has started, at once."""
    family = [process.pid, *_descendants(process.pid)] if process.poll() is None else []
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, none sees another one die
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        family += [pid for pid in _descendants(process.pid) if pid not in family]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


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
