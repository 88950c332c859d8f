"""One stage of a comparison: train and test one row for one seed, in the host's own programs."""
from __future__ import annotations

import hashlib
import json
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.files.export import export_plain
from ..core.files.writing import write_json, write_text
from .programs import run_program, wait_for_others

ROWS = ('baseline', 'control', 'denoiserep')
NOT_TRAINED = ("Noise 'corruption' is fitted once and trains nothing, so no training can be compared. "
               'Run it (mim train; FastReID: --one-pass) and compare its checkpoint with the one it '
               'started from by tools/robustness.py.')


class Host(ABC):
    """What a comparison asks of a toolbox. Configs are the toolbox's own objects."""

    progress: str  # regular expression of the progress in a line of the programs' log

    @abstractmethod
    def read_config(self, path: str | Path, options: dict[str, Any]) -> Any:
        """Read a config file and override some of its keys.

        Raises:
            ValueError: if nothing in it is trained.
        """

    @abstractmethod
    def control(self, config: Any) -> Any:
        """The same config without DenoiseRep: the control, and what fused files are tested with.

        Raises:
            ValueError: if there is no DenoiseRep in it.
        """

    @abstractmethod
    def text(self, config: Any) -> str:
        """All of a config, for telling whether it has changed."""

    @abstractmethod
    def train(self, stage: Stage, config: Any, work_dir: Path, resume: bool) -> Path:
        """Train from ``stage.checkpoint`` with ``stage.seed``; return the last checkpoint."""

    @abstractmethod
    def test(self, stage: Stage, config: Any, checkpoint: Path, work_dir: Path) -> dict[str, float]:
        """Metrics of a checkpoint."""

    @abstractmethod
    def costs(self, config: Any, checkpoint: Path, plain: Path, work_dir: Path,
              timing: bool) -> dict[str, Any]:
        """What DenoiseRep costs, see :func:`denoiserep_ext.compare.report.table`."""


@dataclass
class Stage:
    """One row for one seed.

    Args:
        host: The toolbox.
        row: ``'baseline'``, ``'control'`` or ``'denoiserep'``.
        seed: Seed of the run.
        folder: Where it works; its ``result.json`` marks it done.
        train: Config to train, or None to test a checkpoint as it is.
        test: Stock config to test with.
        checkpoint: What training starts from, or what is tested if ``train`` is None.
        threads: CPU threads of each program.
    """

    host: Host
    row: str
    seed: int
    folder: Path
    train: Any | None
    test: Any
    checkpoint: Path | None
    threads: int
    started: float = field(default=0.0, compare=False)

    @property
    def name(self) -> str:
        return f'{self.row} seed {self.seed}'

    def run(self) -> dict:
        """Do what is not done yet.

        Returns:
            ``metrics``, ``checkpoint``, ``seconds``.

        Raises:
            RuntimeError: with the end of the log, if a program fails.
        """
        self.started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        wait_for_others(self.folder / 'log.txt')
        result_file, mark = self.folder / 'result.json', self._fingerprint()
        if result_file.exists():
            result = json.loads(result_file.read_text())
            if result['fingerprint'] == mark:
                return {**result, 'reused': True}
        checkpoint = self._train(mark) if self.train is not None else self.checkpoint
        plain = checkpoint
        if self.row == 'denoiserep':
            plain = self.folder / 'fused.pth'
            export_plain(checkpoint, plain, overwrite=True)
        metrics = self.host.test(self, self.test, plain, self.folder / 'test')
        result = {
            'fingerprint': mark, 'row': self.row, 'seed': self.seed, 'metrics': metrics,
            'checkpoint': str(checkpoint), 'plain': str(plain),
            'seconds': round(time.monotonic() - self.started, 1)
        }
        write_json(result, result_file)
        return result

    def last_line(self) -> str:
        """The latest progress of the programs' log, shortened."""
        log = self.folder / 'log.txt'
        if not log.exists():
            return 'starting'
        lines = re.findall(self.host.progress, log.read_text(errors='replace')[-4000:])
        return ' '.join(lines[-1].split()[:2]) if lines else 'starting'

    def call(self, command: list[str]) -> None:
        """Run a program of this Python's environment; its output goes to the stage's log.

        Raises:
            RuntimeError: with the end of the log, if it fails.
        """
        run_program(self.name, command, self.folder / 'log.txt', self.threads)

    def _fingerprint(self) -> str:
        parts = ['' if self.train is None else self.host.text(self.train), self.host.text(self.test),
                 str(self.seed), str(self.checkpoint)]
        if self.checkpoint is not None:
            parts.append(str(Path(self.checkpoint).stat().st_mtime_ns))
        return hashlib.sha256('\0'.join(parts).encode()).hexdigest()

    def _train(self, mark: str) -> Path:
        work_dir, started = self.folder / 'train', self.folder / 'started'
        last = work_dir / 'last_checkpoint'  # both OpenMMLab and FastReID leave one
        resume = started.exists() and started.read_text() == mark and last.exists()
        if not resume:
            last.unlink(missing_ok=True)
            write_text(mark, started)
        return self.host.train(self, self.train, work_dir, resume)
