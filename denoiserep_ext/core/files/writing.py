"""Files that appear whole or not at all."""
from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


@contextmanager
def parked(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes ``path`` at the end, or vanishes if anything goes
    wrong."""
    partial = Path(f'{path}.partial')
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(data: Any, path: str | Path) -> None:
    """``torch.save`` under a temporary name, renamed once it is there as a whole."""
    with parked(path) as partial:
        torch.save(data, partial)


def write_json(data: Any, path: str | Path) -> None:
    """Plain data as JSON, whole or not at all."""
    with parked(path) as partial:
        partial.write_text(json.dumps(data, indent=2))
