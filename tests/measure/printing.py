"""What the commands that measure on CIFAR-10 have in common at the terminal."""
from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path


def parser(purpose: str) -> argparse.ArgumentParser:
    """Options that every such command has."""
    found = argparse.ArgumentParser(description=purpose.split('\n')[0])
    found.add_argument('--quick', action='store_true', help='a small part, to see that it runs')
    found.add_argument('--seeds', type=int, default=1, help='draws of the images that are fitted on')
    return found


def start() -> Path:
    """Folder of real test data."""
    if not os.environ.get('DENOISEREP_TEST_DATA'):
        raise SystemExit('Set DENOISEREP_TEST_DATA to the folder of real test data.')
    return Path(os.environ['DENOISEREP_TEST_DATA'])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first of them the head, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['  '.join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(
        row[1:], widths[1:]))]) for row in rows]
    return '\n'.join([lines[0], '-' * len(lines[0]), *lines[1:]])
