"""One model and one seed: the trained model, what is made of it without labels, and their scores."""
from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.files.reading import read_checkpoint
from ..core.files.writing import parked, write_text
from ..robustness.cells import checkpoints_of
from ..robustness.over_seeds import FILE
from .programs import last_line, run_program, wait_for_others
from .stages import Host, Stage

PLAIN, NORMS, BIAS, DENOISED = 'plain', 'BatchNorm re-estimated', 'bias only', 'denoised'
FORMS = {BIAS: 'bias', DENOISED: 'patch'}  # of tools/calibrate.py


@dataclass
class Trial:
    """Every step writes files below ``folder``; what is there is not done again.

    Args:
        host: The toolbox.
        config: Config of the model, as it is trained and tested.
        words: Path of its file, and options, as tools take them.
        tools: Folder of ``calibrate.py``, ``adapt_norms.py`` and ``robustness.py``.
        name: What the model is called.
        seed: Of training, of the images that are drawn and of what makes them worse.
        folder: Where everything goes.
        fitted: Corruptions that unlabelled train images are made worse by.
        others: Corruptions that test images alone are made worse by.
        severity: Of all of them, 1 to 5.
        images: Unlabelled train images; 0: all.
        threads: CPU threads of each program.
    """

    host: Host
    config: Any
    words: Sequence[str]
    tools: Path
    name: str
    seed: int
    folder: Path
    fitted: Sequence[str]
    others: Sequence[str]
    severity: int
    images: int
    threads: int
    step: str = field(default='', compare=False)
    stage: Stage | None = field(default=None, compare=False)
    done: int = field(default=0, compare=False)
    reused: int = field(default=0, compare=False)  # of these steps, those done in an earlier run
    steps: int = field(default=2 + len(FORMS), compare=False)  # one more with BatchNorm
    events: list[str] = field(default_factory=list, compare=False)

    def run(self) -> dict[str, Any]:
        """Do what is not done yet.

        Returns:
            ``scores``, the file that ``tools/robustness.py`` wrote, and ``gains``: by row, whether the
            judge found a gain.

        Raises:
            RuntimeError: with the end of the log, if a program fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        wait_for_others(self.folder / 'log.txt')
        plain = self._train()
        rows, gains = {PLAIN: plain}, {}
        if any(key.endswith('running_mean') for key in read_checkpoint(plain)['state_dict']):
            self.steps += 1
            rows[NORMS] = self._adapt_norms(plain)
        for row, form in FORMS.items():
            rows[row], gains[row] = self._calibrate(plain, row, form)
        return {'scores': self._score(rows), 'gains': gains}

    def status(self) -> str:
        """What is being done."""
        line = last_line(self.folder / 'log.txt') if self.stage is None else self.stage.last_line()
        return f'{self.name} seed {self.seed}: {self.step}: {line}'

    def _end(self, words: str) -> None:
        self.done += 1
        self.events.append(f'{self.name} seed {self.seed}: {words}')

    def _train(self) -> Path:
        self.step = 'training'
        self.stage = Stage(self.host, 'baseline', self.seed, self.folder / 'baseline', self.config,
                           self.config, None, self.threads)
        result = self.stage.run()
        self.stage = None
        self.reused += bool(result.get('reused'))
        metrics = ', '.join(f'{name} {value:.4g}' for name, value in result['metrics'].items())
        self._end(f'trained, {metrics} on clean test images')
        return Path(result['checkpoint'])

    def _adapt_norms(self, plain: Path) -> Path:
        out = self.folder / 'norms.pth'
        self._do('re-estimating BatchNorm', [
            'adapt_norms.py', *self._of(plain), '--out', str(out), '--overwrite', *self._images],
            [plain], [out])
        self._end('BatchNorm re-estimated')
        return out

    def _calibrate(self, plain: Path, row: str, form: str) -> tuple[Path, bool]:
        out = self.folder / f'{row.split()[0]}.pth'
        report = out.with_name(f'{out.stem}_pairs.json')
        self._do(f'fitting {row}', [
            'calibrate.py', *self._of(plain), '--out', str(out), '--overwrite', '--noise', 'corruption',
            '--form', form, *self._images], [plain], [report, out])
        gains = json.loads(report.read_text())['denoised']
        if not gains:  # the tool leaves the model as it was, and so does this row
            with parked(out) as partial:
                shutil.copyfile(plain, partial)
        self._end(f'{row}: the judge finds '
                  f'{"a gain" if gains else "no gain, the model stays as it was"}')
        return out, gains

    def _score(self, rows: dict[str, Path]) -> Path:
        out = self.folder / 'robustness'
        self._do('scoring', [
            'robustness.py', self.words[0], *map(str, rows.values()), '--names', *rows, '--corruptions',
            *self.fitted, *self.others, '--severities', str(self.severity), '--out', str(out),
            *self.words[1:]], list(rows.values()), [out / FILE])
        self._end('scored')
        return out / FILE

    def _of(self, plain: Path) -> list[str]:
        return [self.words[0], str(plain), *self.words[1:]]

    @property
    def _images(self) -> list[str]:
        return ['--corruptions', *self.fitted, '--severities', str(self.severity), '--images',
                str(self.images), '--seed', str(self.seed)]

    def _do(self, step: str, command: list[str], inputs: list[Path], outputs: list[Path]) -> None:
        """Run a tool, unless it has been run on these files and has left what it writes."""
        self.step = step
        text = json.dumps([__version__, self.host.text(self.config), command,
                           [c.digest for c in checkpoints_of(inputs, [str(p) for p in inputs])]])
        mark = hashlib.sha256(text.encode()).hexdigest()
        done = outputs[0].with_name(f'{outputs[0].stem}.done')
        if done.exists() and done.read_text() == mark and all(path.exists() for path in outputs):
            self.reused += 1
            return
        done.unlink(missing_ok=True)
        run_program(f'{self.name} seed {self.seed}, {step}', [
            sys.executable, '-W', 'ignore::DeprecationWarning', str(self.tools / command[0]),
            *command[1:]], self.folder / 'log.txt', self.threads)
        write_text(mark, done)
