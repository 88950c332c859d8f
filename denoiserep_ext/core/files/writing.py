"""Files that appear whole or not at all, whatever ends the program or the machine."""
from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

ENDING = '.partial'
_REASONS = {
    errno.ENOSPC: 'the disk is full', errno.EDQUOT: 'the quota is used up',
    errno.EFBIG: 'a file may not be that large here', errno.EROFS: 'the file system is read-only',
    errno.EACCES: 'there is no permission', errno.EPERM: 'there is no permission',
    errno.ENOTDIR: 'there is a file where a folder should be', errno.EIO: 'the disk failed',
}


class WriteError(OSError):
    """A file could not be written; what stood in its place still does."""


@contextmanager
def parked(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes ``path`` at the end, or vanishes if anything goes
    wrong. What is renamed has reached the disk. Names are unique, so several processes may write the
    same file; what killed ones left of it is cleared.

    Raises:
        WriteError: if the disk is full or does not take it, with ``path`` and the reason.
    """
    path = Path(path)
    with _named(path):
        clear_partial(path.parent, path.name)
        partial, lock = _start(path)
    try:
        with _named(path), lock:
            yield partial
            _to_disk(partial)
            partial.replace(path)
            with suppress(OSError):  # some file systems have no such thing for folders
                _to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(data: Any, path: str | Path) -> None:
    """``torch.save`` under a temporary name, renamed once it is there as a whole."""
    with parked(path) as partial, partial.open('wb') as stream:
        torch.save(data, stream)


def write_json(data: Any, path: str | Path) -> None:
    """Plain data as JSON, whole or not at all."""
    write_text(json.dumps(data, indent=2), path)


def write_text(text: str, path: str | Path) -> None:
    """Text, whole or not at all."""
    with parked(path) as partial:
        partial.write_text(text)


def clear_partial(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes have left half written.

    Args:
        folder: Where to look; not below it.
        name: Of the file that was to be; None for all.
    """
    pattern = re.compile(rf'{".+" if name is None else re.escape(name)}\.[0-9a-f]{{8}}{ENDING}')
    for partial in folder.iterdir() if folder.is_dir() else ():
        if pattern.fullmatch(partial.name):
            with suppress(OSError), partial.open('rb') as stream:
                # Whoever is still writing holds the lock, on any machine; the dead hold none.
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink()


def require_writable(path: str | Path) -> None:
    """See that a file can be written, before hours go into what it is to hold. Nothing is left behind.

    Args:
        path: The file; its folder need not be there yet.

    Raises:
        WriteError: with the reason.
    """
    path = Path(path)
    folder = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    with _named(path), tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(bytes(4096))


def _start(path: Path) -> tuple[Path, BinaryIO]:
    """A new, empty partial file of this process, locked until the stream is closed."""
    while True:
        partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}{ENDING}')
        stream = partial.open('xb')
        with suppress(OSError):  # a file system without locks: nothing of it is ever cleared
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if partial.exists():  # not cleared between the two calls
            return partial, stream
        stream.close()


def _to_disk(path: Path) -> None:
    """What is written survives the machine: of a file its content, of a folder its names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file and the reason in what a disk has to say."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save hides what the disk said in a RuntimeError
        cause: BaseException | None = error
        while cause is not None and not (isinstance(cause, OSError) and cause.errno in _REASONS):
            cause = cause.__context__
        if cause is None or isinstance(error, WriteError):
            raise
        raise WriteError(f'{path} could not be written: {_REASONS[cause.errno]}. What was there before '
                         f'is as it was; make room or choose another place.') from error
