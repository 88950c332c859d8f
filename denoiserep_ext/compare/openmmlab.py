"""Comparisons in MMPretrain, MMDetection and MMSegmentation, by ``mim train`` and ``mim test``."""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..mm import launch
from ..mm.images import missing_folders
from ..mm.stacks import mim_name
from ..pairs.options import NOISE
from . import measure
from .measure import without_hook
from .stages import NOT_TRAINED, Host, Stage

# Every row resumes as if it had never been interrupted, with and without DenoiseRep.
RESUMING = [dict(type=f'denoiserep_ext.{name}') for name in ('Generators', 'WholeCheckpoints')]

_REMEDY = ('Put the images there or name another folder: --cfg-options '
           'train_dataloader.dataset.data_root=FOLDER, say. (Digits and scenes: python -m '
           'denoiserep_ext digits|scenes FOLDER.)')


class OpenMMLab(Host):
    """OpenMMLab's toolboxes; see :class:`Host`."""

    progress = r'((?:Epoch|Iter)\(\w+\).*)'

    def read_config(self, path: str | Path, options: dict[str, Any]) -> Config:
        cfg = launch.read_config(path)
        if options:
            cfg.merge_from_dict(options)
        if any(hook.get('noise') == NOISE for hook in cfg.get('custom_hooks') or []):
            raise ValueError(NOT_TRAINED)
        missing = [f'{folder} ({split}_dataloader)' for split in ('train', 'val', 'test')
                   for folder in missing_folders(cfg.get(f'{split}_dataloader'))]
        if missing:
            raise FileNotFoundError(f'{path}: there is no folder {", ".join(missing)}. {_REMEDY}')
        return cfg

    def control(self, config: Config) -> Config:
        return without_hook(config)

    def text(self, config: Config) -> str:
        return config.pretty_text

    def train(self, stage: Stage, config: Config, work_dir: Path, resume: bool) -> Path:
        cfg = Config(config.to_dict())
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': stage.seed}
        # MMSegmentation's --resume leaves load_from as it is, and mmengine would resume from there.
        cfg.load_from = None if resume or stage.checkpoint is None else str(stage.checkpoint)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *RESUMING]
        self._mim(stage, 'train', cfg, ['--resume'] if resume else [], work_dir)
        return Path((work_dir / 'last_checkpoint').read_text())

    def test(self, stage: Stage, config: Config, checkpoint: Path, work_dir: Path) -> dict[str, float]:
        before = set(work_dir.glob('*/*.json'))
        self._mim(stage, 'test', config, ['--checkpoint', str(checkpoint)], work_dir)
        report, = set(work_dir.glob('*/*.json')) - before
        metrics = json.loads(report.read_text())
        return {name: value for name, value in metrics.items()
                if name not in ('time', 'data_time') and isinstance(value, (int, float))}

    def costs(self, config: Config, checkpoint: Path, plain: Path, work_dir: Path,
              timing: bool) -> dict[str, Any]:
        costs: dict[str, Any] = {
            'fused_against_unfused': measure.fused_against_unfused(config, checkpoint, plain)}
        if timing:
            times = measure.step_times({'plain': without_hook(config), 'denoiserep': config}, work_dir)
            inference = measure.inference(config, plain)
            costs.update(step_time=times['denoiserep'] / times['plain'],
                         parameters=measure.parameter_ratio(config),
                         inference_time=inference['time'], operators=inference['operators'])
        return costs

    def _mim(self, stage: Stage, verb: str, cfg: Config, options: list[str], work_dir: Path) -> None:
        config_file = stage.folder / f'{verb}.py'
        cfg.dump(config_file)
        mim = Path(sys.executable).with_name('mim')
        stage.call([str(mim), verb, mim_name(cfg.default_scope), str(config_file), *options,
                    '--work-dir', str(work_dir)])
