"""The runs that are killed: every host's training, and the tools that go on where they stopped."""
from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, '-W', 'ignore']
EPOCHS = 4


@dataclass
class Run:
    """What is started, and what it leaves.

    Args:
        name: What it is called in the table.
        command: From the folder it writes to, the command; the same one goes on where it stopped.
        result: From that folder, what has to be equal in the end.
        environment: Variables for the programs.
    """

    name: str
    command: Callable[[Path], list[str]]
    result: Callable[[Path], Any]
    environment: dict[str, str] = field(default_factory=dict)


def runs(data: Path) -> dict[str, Run]:
    """All of them, by a short name.

    Args:
        data: Folder for data sets and what the runs start from; it is filled as needed.
    """
    given = Given(data)
    made = [
        Run('MMPretrain, joint', given.classifier('joint', {}, workers=2), last_checkpoint),
        Run('MMPretrain, alternate with SGD', given.classifier(
            'alternate', dict(recipe='alternate', solver='sgd', period=1)), last_checkpoint),
        Run('MMPretrain, frozen', given.classifier('frozen', dict(recipe='frozen')), last_checkpoint),
        Run('MMDetection, Mask R-CNN', given.dense('detector'), last_checkpoint),
        Run('MMSegmentation, SegFormer', given.dense('segmentor', workers=1), last_checkpoint),
        Run('FastReID, OSNet', given.reid, reid_checkpoint),
        Run('tools/compare.py', given.compare, comparison),
        Run('tools/calibrate.py, sweep', given.calibrate_sweep, calibrated),
        Run('tools/calibrate.py, shared passes', given.calibrate_shares, calibrated),
        Run('tools/robustness.py', given.robustness, robustness),
    ]
    names = ('joint', 'alternate', 'frozen', 'detector', 'segmentor', 'fastreid', 'compare', 'sweep',
             'shares', 'robustness')
    return dict(zip(names, made))


class Given:
    """Data, configs and baselines, made once; and the commands."""

    def __init__(self, data: Path) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)

    @cache
    def digits(self) -> Path:
        from denoiserep_ext.datasets.digits import write_image_folder
        return self._written('digits', write_image_folder)

    @cache
    def retrieval(self) -> Path:
        from denoiserep_ext.datasets.retrieval import write_retrieval
        return self._written('retrieval', write_retrieval)

    @cache
    def scenes(self) -> Path:
        from denoiserep_ext.datasets.scenes import SceneConfig, write_scenes
        return self._written('scenes', lambda folder: write_scenes(
            folder, SceneConfig(size=64, train=16, val=6, test=6)))

    def _written(self, name: str, write: Callable[[Path], Any]) -> Path:
        if not (self.data / name).exists():
            write(self.data / name)
        return self.data / name

    @cache
    def baseline(self) -> tuple[Path, Path]:
        """Config and checkpoint of a small trained classifier."""
        from tests.mm.helpers import classifier_config, train
        folder = self.data / 'baseline'
        cfg = classifier_config(folder, self.digits(), epochs=3)
        config, checkpoint = self.data / 'stock.py', folder / 'epoch_3.pth'
        if not checkpoint.exists():
            cfg.dump(config)
            train(cfg)
        return config, checkpoint

    def classifier(self, name: str, hook: dict, workers: int = 0) -> Callable[[Path], list[str]]:
        """Dropout and random crops in every epoch; one checkpoint kept, and the best."""
        @cache
        def config() -> Path:
            from tests.mm.helpers import classifier_config
            cfg = classifier_config(self.data, self.digits(), epochs=EPOCHS, hook=hook,
                                    load_from=str(self.baseline()[1]))
            cfg.train_dataloader.dataset.pipeline.insert(
                2, dict(type='RandomCrop', crop_size=16, padding=2))
            cfg.train_dataloader.update(num_workers=workers, persistent_workers=bool(workers))
            cfg.default_hooks.checkpoint.update(max_keep_ckpts=1, save_best='auto')
            cfg.pop('work_dir')
            cfg.dump(self.data / f'{name}.py')
            return self.data / f'{name}.py'

        return lambda folder: training(config(), folder)

    def dense(self, kind: str, workers: int = 0) -> Callable[[Path], list[str]]:
        @cache
        def config() -> Path:
            from tests.mm.dense import dense_config
            cfg = dense_config(kind, self.data, self.scenes(), hook={})
            cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook['type'] != 'Reseed']
            flip = dict(type='RandomFlip', prob=0.5)
            cfg.train_dataloader.dataset.pipeline.insert(-1, flip)
            cfg.train_dataloader.update(num_workers=workers, persistent_workers=bool(workers))
            cfg.default_hooks.checkpoint.update(
                max_keep_ckpts=1, interval=1 if kind == 'detector' else 2)
            cfg.pop('work_dir')
            cfg.dump(self.data / f'{kind}.py')
            return self.data / f'{kind}.py'

        return lambda folder: training(config(), folder)

    def reid(self, folder: Path) -> list[str]:
        from tests.reid.helpers import reid_config
        config = folder.parent / f'{folder.name}.yml'
        if not config.exists():
            config.write_text(reid_config(folder, self.retrieval(), 'SOLVER.MAX_EPOCH', 3,
                                          'TEST.EVAL_PERIOD', 1).dump())
        return [*PYTHON, '-m', 'denoiserep_ext.reid.train_net', '--config-file', str(config), '--resume']

    def compare(self, folder: Path) -> list[str]:
        configs = ROOT / 'configs/mmpretrain/digits'
        options = ['train_cfg.max_epochs=2', 'train_cfg.val_interval=1',
                   'default_hooks.checkpoint.interval=1', 'model.backbone.arch.num_layers=1',
                   *(f'{part}_dataloader.dataset.data_root={self.digits()}'
                     for part in ('train', 'val', 'test'))]
        return [*PYTHON, str(ROOT / 'tools/compare.py'),
                str(configs / 'vit-tiny_denoiserep-joint_1xb64_digits.py'), '--baseline',
                str(configs / 'vit-tiny_1xb64_digits.py'), '--seeds', '0', '--work-dir', str(folder),
                '--skip-costs', '--cfg-options', *options]

    def calibrate_sweep(self, folder: Path) -> list[str]:
        config, checkpoint = map(str, self.baseline())
        return [*PYTHON, str(ROOT / 'tools/calibrate.py'), config, checkpoint, '--out',
                str(folder / 'out.pth'), '--images', '96', '--val-images', '40', '--sweep', '0.1', '0.3',
                '--noises', 'relative', 'within_class', '--write-anyway', '--overwrite']

    def calibrate_shares(self, folder: Path) -> list[str]:
        config, checkpoint = map(str, self.baseline())
        tool = [*PYTHON, str(ROOT / 'tools/calibrate.py'), config, checkpoint]
        shares = [folder / f'share{i}.pth' for i in (1, 2)]
        common = ['--noise', 'relative', '--images', '240', '--overwrite']
        steps = [[*tool, *common, '--share', f'{i}/2', '--save-moments', str(share)]
                 for i, share in enumerate(shares, 1)]
        steps.append([*tool, *common, '--moments', *map(str, shares), '--out', str(folder / 'out.pth')])
        return ['bash', '-c', ' && '.join(' '.join(map(_quoted, step)) for step in steps)]

    def robustness(self, folder: Path) -> list[str]:
        config, checkpoint = map(str, self.baseline())
        return [*PYTHON, str(ROOT / 'tools/robustness.py'), config, checkpoint, '--out', str(folder),
                '--corruptions', 'fog', 'contrast', '--severities', '1', '3']


def training(config: Path, folder: Path) -> list[str]:
    return [*PYTHON, str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(folder), '--resume']


def _quoted(word: str) -> str:
    from shlex import quote
    return quote(word)


# What has to be equal


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location='cpu', weights_only=False)  # of our own making


def last_checkpoint(folder: Path) -> Any:
    checkpoint = load(Path((folder / 'last_checkpoint').read_text()))
    return {key: checkpoint[key] for key in
            ('state_dict', 'denoiserep', 'optimizer', 'param_schedulers', 'generators')}


def reid_checkpoint(folder: Path) -> Any:
    assert (folder / 'last_checkpoint').read_text() == 'model_final.pth'
    return load(folder / 'model_final.pth')


def comparison(folder: Path) -> Any:
    inner, = (path.parent for path in folder.glob('*/comparison.json'))
    report = json.loads((inner / 'comparison.json').read_text())
    weights = {result['row']: load(Path(result['checkpoint']))['state_dict']
               for result in report['results']}
    return report['summary'], report['verdict'], report['costs'], weights


def calibrated(folder: Path) -> Any:
    figures = {path.name: json.loads(path.read_text()) for path in folder.glob('*.json')}
    return load(folder / 'out.pth')['state_dict'], figures


def robustness(folder: Path) -> Any:
    return json.loads((folder / 'robustness.json').read_text())
