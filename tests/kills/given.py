"""Data sets, configs and baselines of the runs that are killed, made once; and their commands."""
from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tests.kills.killing import run

ROOT = Path(__file__).parents[2]
EPOCHS = 4
Steps = Callable[[Path], 'list[list[str]]']  # from the folder a run writes to, its programs


class Given:
    """Everything is made when it is first asked for.

    Args:
        data: Folder for it.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)

    @cached_property
    def digits(self) -> Path:
        from denoiserep_ext.datasets.digits import write_image_folder
        return self._written('digits', write_image_folder)

    @cached_property
    def retrieval(self) -> Path:
        from denoiserep_ext.datasets.retrieval import write_retrieval
        return self._written('retrieval', write_retrieval)

    @cached_property
    def scenes(self) -> Path:
        from denoiserep_ext.datasets.scenes import SceneConfig, write_scenes
        return self._written('scenes', lambda folder: write_scenes(
            folder, SceneConfig(size=64, train=16, val=6, test=6)))

    def _written(self, name: str, write: Callable[[Path], Any]) -> Path:
        if not (self.data / name).exists():
            write(self.data / name)
        return self.data / name

    @cached_property
    def baseline(self) -> tuple[Path, Path]:
        """Config and checkpoint of a small trained classifier."""
        from tests.mm.helpers import classifier_config
        folder = self.data / 'baseline'
        cfg = classifier_config(folder, self.digits, epochs=3)
        config, checkpoint = self.data / 'stock.py', folder / 'epoch_3.pth'
        if not checkpoint.exists():
            cfg.dump(config)
            run(training(config, folder), self.data / 'baseline.log')
        return config, checkpoint

    def classifier(self, name: str, hook: dict, workers: int = 0) -> Steps:
        """Dropout and random crops in every epoch; one checkpoint kept, and the best."""
        @cache
        def config() -> Path:
            from tests.mm.helpers import classifier_config
            cfg = classifier_config(self.data, self.digits, epochs=EPOCHS, hook=hook,
                                    load_from=str(self.baseline[1]))
            cfg.train_dataloader.dataset.pipeline.insert(
                2, dict(type='RandomCrop', crop_size=16, padding=2))
            cfg.train_dataloader.update(num_workers=workers, persistent_workers=bool(workers))
            cfg.default_hooks.checkpoint.update(max_keep_ckpts=1, save_best='auto')
            cfg.pop('work_dir')
            cfg.dump(self.data / f'{name}.py')
            return self.data / f'{name}.py'

        return lambda folder: training(config(), folder)

    def dense(self, kind: str, workers: int = 0) -> Steps:
        @cache
        def config() -> Path:
            from tests.mm.dense import dense_config
            cfg = dense_config(kind, self.data, self.scenes, hook={})
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

    def reid(self, folder: Path) -> list[list[str]]:
        from tests.reid.helpers import reid_config
        config = folder.parent / f'{folder.name}.yml'
        if not config.exists():
            config.write_text(reid_config(folder, self.retrieval, 'SOLVER.MAX_EPOCH', 3,
                                          'TEST.EVAL_PERIOD', 1).dump())
        return [['-m', 'denoiserep_ext.reid.train_net', '--config-file', str(config), '--resume']]

    def compare(self, folder: Path) -> list[list[str]]:
        configs = ROOT / 'configs/mmpretrain/digits'
        options = ['train_cfg.max_epochs=2', 'train_cfg.val_interval=1',
                   'default_hooks.checkpoint.interval=1', 'model.backbone.arch.num_layers=1',
                   *(f'{part}_dataloader.dataset.data_root={self.digits}'
                     for part in ('train', 'val', 'test'))]
        return [[str(ROOT / 'tools/compare.py'),
                str(configs / 'vit-tiny_denoiserep-joint_1xb64_digits.py'), '--baseline',
                str(configs / 'vit-tiny_1xb64_digits.py'), '--seeds', '0', '--work-dir', str(folder),
                '--skip-costs', '--cfg-options', *options]]

    def compare_reid(self, folder: Path) -> list[list[str]]:
        configs = ROOT / 'configs/fastreid/digits'
        joint, stock = configs / 'osnet_x0-25_denoiserep-joint.yml', configs / 'osnet_x0-25.yml'
        return [[str(ROOT / 'tools/compare.py'), str(joint), '--baseline', str(stock), '--seeds', '0',
                 '--work-dir', str(folder), '--skip-costs', '--cfg-options', 'SOLVER.MAX_EPOCH=2',
                 'SOLVER.CHECKPOINT_PERIOD=1', 'TEST.EVAL_PERIOD=1', f'DATASETS.ROOT={self.retrieval}']]

    def calibrate_sweep(self, folder: Path) -> list[list[str]]:
        config, checkpoint = map(str, self.baseline)
        return [[str(ROOT / 'tools/calibrate.py'), config, checkpoint, '--out',
                str(folder / 'out.pth'), '--images', '96', '--val-images', '40', '--sweep', '0.1', '0.3',
                '--noises', 'relative', 'within_class', '--write-anyway', '--overwrite']]

    def calibrate_shares(self, folder: Path) -> list[list[str]]:
        config, checkpoint = map(str, self.baseline)
        tool = [str(ROOT / 'tools/calibrate.py'), config, checkpoint]
        shares = [folder / f'share{i}.pth' for i in (1, 2)]
        common = ['--noise', 'relative', '--images', '240', '--overwrite']
        steps = [[*tool, *common, '--share', f'{i}/2', '--save-moments', str(share)]
                 for i, share in enumerate(shares, 1)]
        whole = [*tool, *common, '--moments', *map(str, shares), '--out', str(folder / 'out.pth')]
        return [*steps, whole]

    def robustness(self, folder: Path) -> list[list[str]]:
        config, checkpoint = map(str, self.baseline)
        return [[str(ROOT / 'tools/robustness.py'), config, checkpoint, '--out', str(folder),
                '--corruptions', 'gaussian_noise', 'contrast', '--severities', '1', '3']]


def training(config: Path, folder: Path) -> list[list[str]]:
    return [[str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(folder), '--resume']]
