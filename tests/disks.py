"""File systems that take little or nothing, for tests that may mount one."""
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes at ``folder``."""
    folder.mkdir()
    with _mounted(folder, ['-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)]):
        yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder that may be read: root may write anywhere, but not below such a mount."""
    with _mounted(folder, ['--bind', str(folder), str(folder)], ['-o', 'remount,ro,bind', str(folder)]):
        yield folder


@contextmanager
def _mounted(folder: Path, *commands: list[str]) -> Iterator[None]:
    mounted = 0
    try:
        for command in commands:
            if subprocess.run(['mount', *command], capture_output=True).returncode:
                pytest.skip('may not mount a file system')
            mounted += 1
        yield
    finally:
        if mounted:
            subprocess.run(['umount', str(folder)], check=True)
