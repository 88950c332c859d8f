"""Data sets on disk, there as a whole or not at all, and folders of images."""
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMAGES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'}


def images_below(folder: Path) -> list[Path]:
    """Image files at any depth, sorted by name.

    Raises:
        FileNotFoundError: if the folder is not there or holds none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder.')
    found = sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGES)
    if not found:
        raise FileNotFoundError(f'{folder}: no images below it ({", ".join(sorted(IMAGES))}).')
    return found


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` to write into; it takes the name of ``out`` at the end, and
    vanishes if anything goes wrong."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f'{out.name}.partial-', dir=out.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def is_there_whole(out: Path, patterns: dict[str, str], expected: dict[str, int]) -> bool:
    """Whether a data set has been written to ``out`` already.

    Args:
        out: Its folder.
        patterns: Glob pattern of the files of each part.
        expected: Files each part must have.

    Raises:
        FileExistsError: if ``out`` exists and holds something else.
    """
    if not out.exists():
        return False
    found = {part: len(list(out.glob(pattern))) for part, pattern in patterns.items()}
    if found != expected:
        raise FileExistsError(f'{out} exists and is not the complete data set ({found} images found, '
                              f'{expected} expected): remove it or name another.')
    return True
