"""One stage of a comparison: train and test one row for one seed, in the host's own programs."""
from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ..mm.files import export_plain
from ..mm.stacks import mim_name

HOOK = 'DenoiseRepHook'
ROWS = ('baseline', 'control', 'denoiserep')


def without_hook(cfg: Config) -> Config:
    """The same config without DenoiseRep: the control, and the stock config fused files are tested
    with.

    Raises:
        ValueError: if the config has no DenoiseRepHook.
    """
    stock = Config(cfg.to_dict())
    hooks = stock.get('custom_hooks') or []
    kept = [hook for hook in hooks if hook['type'].rpartition('.')[2] != HOOK]
    if len(kept) == len(hooks):
        raise ValueError('The config has no DenoiseRepHook: add custom_hooks = '
                         "[dict(type='denoiserep_ext.DenoiseRepHook')].")
    stock.custom_hooks = kept
    return stock


@dataclass
class Stage:
    """One row for one seed.

    Args:
        row: ``'baseline'``, ``'control'`` or ``'denoiserep'``.
        seed: Seed of the run.
        folder: Where it works; its ``result.json`` marks it done.
        train: Config to train, or None to test a checkpoint as it is.
        test: Stock config to test with.
        checkpoint: What training starts from, or what is tested if ``train`` is None.
        threads: CPU threads of each program.
    """

    row: str
    seed: int
    folder: Path
    train: Config | None
    test: Config
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
        result = {
            'fingerprint': mark, 'row': self.row, 'seed': self.seed, 'metrics': self._test(plain),
            'checkpoint': str(checkpoint), 'plain': str(plain),
            'seconds': round(time.monotonic() - self.started, 1)
        }
        partial = result_file.with_suffix('.partial')
        partial.write_text(json.dumps(result, indent=2))
        partial.rename(result_file)
        return result

    def last_line(self) -> str:
        """The latest progress line of the programs' log, shortened."""
        log = self.folder / 'log.txt'
        if not log.exists():
            return 'starting'
        lines = re.findall(r'((?:Epoch|Iter)\(\w+\).*)', log.read_text(errors='replace')[-4000:])
        return ' '.join(lines[-1].split()[:2]) if lines else 'starting'

    def _fingerprint(self) -> str:
        parts = ['' if self.train is None else self.train.pretty_text, self.test.pretty_text,
                 str(self.seed), str(self.checkpoint)]
        if self.checkpoint is not None:
            parts.append(str(Path(self.checkpoint).stat().st_mtime_ns))
        return hashlib.sha256('\0'.join(parts).encode()).hexdigest()

    def _train(self, mark: str) -> Path:
        cfg = Config(self.train.to_dict())
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': self.seed}
        cfg.load_from = None if self.checkpoint is None else str(self.checkpoint)
        work_dir, started = self.folder / 'train', self.folder / 'started'
        options = []
        if started.exists() and started.read_text() == mark:
            if (work_dir / 'last_checkpoint').exists():
                options = ['--resume']
        else:
            (work_dir / 'last_checkpoint').unlink(missing_ok=True)
            started.write_text(mark)
        self._mim('train', cfg, options, work_dir)
        return Path((work_dir / 'last_checkpoint').read_text())

    def _test(self, checkpoint: Path) -> dict[str, float]:
        work_dir = self.folder / 'test'
        before = set(work_dir.glob('*/*.json'))
        self._mim('test', self.test, ['--checkpoint', str(checkpoint)], work_dir)
        report, = set(work_dir.glob('*/*.json')) - before
        metrics = json.loads(report.read_text())
        return {name: value for name, value in metrics.items()
                if name not in ('time', 'data_time') and isinstance(value, (int, float))}

    def _mim(self, verb: str, cfg: Config, options: list[str], work_dir: Path) -> None:
        config_file = self.folder / f'{verb}.py'
        cfg.dump(config_file)
        mim = Path(sys.executable).with_name('mim')
        command = [str(mim), verb, mim_name(cfg.default_scope), str(config_file), *options,
                   '--work-dir', str(work_dir)]
        environment = {**os.environ, 'OMP_NUM_THREADS': str(self.threads),
                       'PATH': f'{mim.parent}{os.pathsep}{os.environ["PATH"]}'}
        log = self.folder / 'log.txt'
        with log.open('a') as stream:
            stream.write(f'$ {" ".join(command)}\n')
            stream.flush()
            status = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT,
                                    stdin=subprocess.DEVNULL, env=environment).returncode
        if status:
            end = '\n'.join(log.read_text(errors='replace').splitlines()[-25:])
            raise RuntimeError(f'{self.name}: mim {verb} failed ({status}); the log is {log}:\n{end}')
