"""Which checkpoint to go on from: the newest that is whole."""
from __future__ import annotations

import re
import zipfile
from pathlib import Path


def is_whole(path: Path) -> bool:
    """Whether a file of ``torch.save`` is there in full: its table of contents and every checksum.
    Nothing in it is run."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError):
        return False


def whole_or_before(named: Path, pattern: str) -> Path:
    """A checkpoint, or the last one before it where it is damaged or gone.

    Args:
        named: The newest checkpoint; a folder if its name has been lost.
        pattern: Regular expression of checkpoints' names; the group that takes part is the number.

    Raises:
        ValueError: if it is damaged and there is none before it.
        FileNotFoundError: if it is gone and there is none before it.
    """
    if named.is_file() and is_whole(named):
        return named
    folder = named if named.is_dir() else named.parent
    last = re.fullmatch(pattern, named.name)
    found = folder.iterdir() if folder.is_dir() else ()
    numbers = {int(match[match.lastindex]): path for path in found
               if (match := re.fullmatch(pattern, path.name))}
    for number in sorted(numbers, reverse=True):
        if (last is None or number < int(last[last.lastindex])) and is_whole(numbers[number]):
            return numbers[number]
    remedy = f'Remove {folder / "last_checkpoint"} to start anew.'
    if named.is_file():
        raise ValueError(f'{named} is damaged, and there is no whole checkpoint before it. {remedy}')
    raise FileNotFoundError(f'{named}: there is no whole checkpoint here. {remedy}')
