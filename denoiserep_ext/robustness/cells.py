"""Scores of single cells, checkpoint by corruption and severity, kept on disk as they come."""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..core.files.writing import write_json
from ..corruptions.names import Corruption

LIBRARY = 'imagecorruptions-imaug'


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is measured.

    Args:
        name: What it is called in tables and pictures.
        path: Its file.
        digest: SHA-256 of the file.
    """

    name: str
    path: Path
    digest: str


def checkpoints_of(paths: list[Path], names: list[str] | None = None) -> list[Checkpoint]:
    """Checkpoints with names of their own: those given, or the files' (with their folders where files
    have one name).

    Raises:
        FileNotFoundError: naming a file that is not there.
        ValueError: if names are not as many, or not different; if one file is named twice.
    """
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such checkpoint.')
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError('A checkpoint is named twice.')
    if names is None:
        names = [path.stem for path in paths]
        if len(set(names)) < len(names):
            names = [path.with_suffix('').as_posix() for path in paths]
    if len(names) != len(paths) or len(set(names)) < len(names):
        raise ValueError(f'{len(paths)} checkpoints need as many different names, got '
                         f'{", ".join(names)}.')
    return [Checkpoint(name, path, _digest(path)) for name, path in zip(names, paths)]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Cells:
    """A folder with one JSON file per cell, named by what the cell is of.

    Args:
        folder: Where they are; it is made with the first one.
        settings: Plain data that decides scores beside checkpoint and corruption.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        text = json.dumps({**settings, 'library': _library_version()}, sort_keys=True, default=str)
        self.settings = hashlib.sha256(text.encode()).hexdigest()

    def _key(self, checkpoint: Checkpoint, corruption: Corruption | None) -> dict[str, Any]:
        return {'checkpoint': checkpoint.digest, 'settings': self.settings,
                'corruption': corruption and corruption.name,
                'severity': 0 if corruption is None else corruption.severity}

    def _path(self, key: dict[str, Any]) -> Path:
        name = f'{key["corruption"] or "clean"}-{key["severity"]}'
        return self.folder / f'{name}_{key["checkpoint"][:12]}_{key["settings"][:12]}.json'

    def read(self, checkpoint: Checkpoint, corruption: Corruption | None) -> dict[str, float] | None:
        """Metrics of a cell, None if it has not been measured with these settings."""
        key = self._key(checkpoint, corruption)
        path = self._path(key)
        if not path.exists():
            return None
        try:
            cell = json.loads(path.read_text())
            return cell['metrics'] if {name: cell[name] for name in key} == key else None
        except (ValueError, KeyError, TypeError):
            return None  # not of our making, or damaged: measured again

    def write(self, checkpoint: Checkpoint, corruption: Corruption | None,
              metrics: dict[str, float]) -> None:
        key = self._key(checkpoint, corruption)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json({**key, 'file': str(checkpoint.path), 'metrics': metrics}, self._path(key))


def _library_version() -> str:
    try:
        return version(LIBRARY)
    except PackageNotFoundError:
        return 'none'
