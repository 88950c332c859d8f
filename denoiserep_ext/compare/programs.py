"""Programs of this Python's environment, run by threads; their output goes to a log."""
from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

_running: set[subprocess.Popen] = set()
_lock = threading.Lock()
_stopped = threading.Event()


def threads_each(jobs: int) -> int:
    """CPU threads for each of several programs at a time."""
    return max(1, len(os.sched_getaffinity(0)) // jobs)


def run_program(name: str, command: list[str], log: Path, threads: int) -> None:
    """Run a program to its end.

    Args:
        name: What it is called in messages.
        command: Program and arguments.
        log: File that its output is added to.
        threads: CPU threads it may use.

    Raises:
        RuntimeError: with the cause and the end of the log, if it fails, or if
            :func:`stop_programs` was called.
    """
    programs = Path(sys.executable).parent
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads),
                   'PATH': f'{programs}{os.pathsep}{os.environ["PATH"]}'}
    with log.open('a') as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # held until the last process with this output has ended
        stream.write(f'$ {" ".join(command)}\n')
        stream.flush()
        start = stream.tell()
        with _lock:
            if _stopped.is_set():
                raise RuntimeError(f'{name}: interrupted.')
            # A session of its own: Ctrl-C is for us, who then end the program and what it started.
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
            _running.add(process)
        status = process.wait()
    with _lock:
        _running.discard(process)
    if status:
        raise RuntimeError(f'{name}: {" ".join(command[:3])} failed ({status}); the log is {log}:\n'
                           f'{_end(log.read_bytes()[start:].decode(errors="replace"))}')


def _end(text: str) -> str:
    """The last lines of a failed program's output, and once more the error that it ended with. (A
    program that starts another, as mim does, ends with the news that this one failed.)"""
    lines = text.splitlines()[-25:]
    errors = re.findall(r'^Traceback \(most recent call last\):\n(?: .*\n)+(\S.*)', text, re.M)
    own = [error for error in errors if 'CalledProcessError' not in error]
    if own and ' died with <Signals.' not in errors[-1]:  # an error before that was not the end
        lines.append(f'\nCause: {own[-1]}')
    return '\n'.join(lines)


def wait_for_others(log: Path) -> None:
    """Wait for programs that write to a log already: those of a run that was killed go on without it."""
    if not log.exists():
        return
    with log.open('a') as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'A program of an earlier run still writes to {log}: waiting for its end.', flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)


def stop_programs(patience: float = 10.0) -> None:
    """End every program that is running, with all it started; no further one starts.

    Args:
        patience: Seconds before a program that does not end is killed.
    """
    with _lock:
        _stopped.set()
        running = list(_running)
    for process in running:
        _signal(process, signal.SIGTERM)
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        _signal(process, signal.SIGKILL)  # what is left of its group


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def interrupt_on_signals() -> None:
    """A closed terminal and ``kill`` are to end programs as Ctrl-C does."""
    def interrupt(*_) -> None:
        raise KeyboardInterrupt
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def last_line(log: Path) -> str:
    """The latest line of a log, or of a progress bar in it."""
    if not log.exists():
        return 'starting'
    with log.open('rb') as stream:
        stream.seek(max(0, log.stat().st_size - 4000))
        text = stream.read().decode(errors='replace')
    lines = [line.strip() for line in re.split(r'[\r\n]', text) if line.strip()]
    return lines[-1] if lines and not lines[-1].startswith('$ ') else 'starting'
