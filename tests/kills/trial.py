"""A run killed several times and resumed until done, against the same run left alone."""
from __future__ import annotations

import json
import random
import shutil
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoiserep_ext.core.files.writing import write_json
from tests.kills.killing import run
from tests.kills.runs import Run

IN_A_ROW = 3  # kills of one run before it is let go on to its end
LINES = ('scalars.json', 'metrics.json')  # a host's logs, a line at a time


@dataclass
class Tally:
    """Kills of one run.

    Attributes:
        tried: How many there were.
        survived: How many of these were followed by an end equal to the undisturbed run's.
        writing: How many struck while a file was changing.
        moments: What each struck at.
        failures: What went wrong.
    """

    tried: int = 0
    survived: int = 0
    writing: int = 0
    moments: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Trial:
    """One run and its undisturbed twin.

    Args:
        run: What is run.
        folder: Where everything goes; an undisturbed twin that is there already serves again.
        seed: Of the moments of the kills.
    """

    def __init__(self, run: Run, folder: Path, seed: int) -> None:
        self.run, self.folder, self.rng = run, folder, random.Random(f'{seed} {run.name}')
        folder.mkdir(parents=True, exist_ok=True)
        self.tally, times = Tally(), folder / 'whole_times.json'
        if not times.exists():
            write_json(self._undisturbed(), times)
        self.usual, self.first_write = json.loads(times.read_text())
        self.wanted = run.result(folder / 'whole')

    def _undisturbed(self) -> tuple[float, float]:
        out, started = self.folder / 'whole', time.time()
        shutil.rmtree(out, ignore_errors=True)
        end = run(self.run.steps(out), self.folder / 'whole.log')
        if end.status:
            raise RuntimeError(f'{self.run.name} fails without being killed:\n{self._log("whole")}')
        _check_files(out)
        times = [path.stat().st_mtime for path in out.rglob('*') if path.suffix in ('.pth', '.json')]
        return end.seconds, max(0.0, min(times) - started)

    def kill(self, times: int) -> Tally:
        """Kill it so often, a few times in a row, and see each time what it ends with."""
        number = len(list(self.folder.glob('killed*.log')))
        while self.tally.tried < times:
            number += 1
            self._once(f'killed{number}', min(IN_A_ROW, times - self.tally.tried))
        return self.tally

    def _once(self, name: str, kills: int) -> None:
        out, done = self.folder / name, 0
        try:
            for _ in range(3 * kills):  # some end before their moment comes
                out.mkdir(exist_ok=True)
                end = run(self.run.steps(out), self.folder / f'{name}.log', out, self.rng, self.usual,
                          self.first_write)
                if not end.moment:
                    if end.status:
                        raise AssertionError(f'it ends with {end.status}:\n{self._log(name)}')
                    if done:
                        break
                    shutil.rmtree(out)  # nothing happened to it: once more
                    continue
                done += 1
                self.tally.moments.append(end.moment)
                self.tally.writing += 'changing' in end.moment
                _check_files(out)
                if done == kills:
                    break
            end = run(self.run.steps(out), self.folder / f'{name}.log')
            if end.status:
                raise AssertionError(f'it cannot be resumed ({end.status}):\n{self._log(name)}')
            _check_files(out)
            left = [str(path) for path in out.rglob('*.partial')]
            assert not left, f'half-written files are left: {left}'
            difference = differing(self.wanted, self.run.result(out))
            assert not difference, f'another end than without kills: {difference}'
            self.tally.survived += done
            shutil.rmtree(out)
        except (AssertionError, KeyError, OSError, RuntimeError, ValueError) as error:
            struck = ', '.join(self.tally.moments[-done:]) if done else 'nothing'
            self.tally.failures.append(f'{self.run.name}, struck at {struck}: {error}')
        self.tally.tried += done

    def _log(self, name: str) -> str:
        return '\n'.join((self.folder / f'{name}.log').read_text(errors='replace').splitlines()[-15:])


def _check_files(folder: Path) -> None:
    """Every file at a final name is whole."""
    for path in folder.rglob('*'):
        try:
            if path.suffix == '.pth':
                with zipfile.ZipFile(path) as archive:
                    assert archive.testzip() is None, 'a checksum is wrong'
            elif path.suffix == '.json' and path.name not in LINES and 'vis_data' not in path.parts:
                json.loads(path.read_text())
            elif path.suffix == '.png':
                from PIL import Image
                Image.open(path).load()
        except (zipfile.BadZipFile, ValueError, OSError, AssertionError) as error:
            raise AssertionError(f'{path} is half a file: {error}') from error


def differing(one: Any, other: Any, name: str = '') -> str:
    """The first part of two nested results that is not equal bit for bit, ``''`` if none."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return f'{name}: keys {sorted(map(str, one.keys() ^ other.keys()))}'
        return next(filter(None, (differing(one[k], other[k], f'{name}.{k}') for k in one)), '')
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        if len(one) != len(other):
            return f'{name}: {len(one)} and {len(other)} items'
        pairs = enumerate(zip(one, other))
        return next(filter(None, (differing(a, b, f'{name}[{i}]') for i, (a, b) in pairs)), '')
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        same = np.array_equal(one, other)
    else:
        same = type(one) is type(other) and (one == other or one != one and other != other)
    return '' if same else f'{name}: {one!r:.60} and {other!r:.60}'
