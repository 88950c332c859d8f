"""Comparisons in FastReID, by ``denoiserep_ext.reid.train_net``."""
from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from ..reid import Trainer, read_config  # first: it makes FastReID importable

# isort: split
import torch
from fastreid.engine.hooks import CallbackHook, LRScheduler
from fastreid.engine.train_loop import TrainerBase
from fastreid.utils.logger import setup_logger
from torch import nn

from ..core.files.plain import KEY, unpack
from ..core.files.reading import read_checkpoint
from ..core.layer.conversion import convert_
from ..core.layer.layers import explicit_path
from ..core.layer.selection import find_part
from ..reid.checkpoint import num_classes
from ..reid.config import settings_of
from ..reid.hooks import DenoisingHook, EpochSeed
from .costs import inference_costs, numbers_held
from .stages import NOT_TRAINED, Host, Stage


class FastReID(Host):
    """FastReID; see :class:`Host`."""

    progress = r'(epoch/iter: \S+)'

    def read_config(self, path: str | Path, options: dict[str, Any]):
        # Each stage has its own start; the config's may not be there yet.
        cfg = read_config(path, ['MODEL.WEIGHTS', '', *(x for pair in options.items() for x in pair)])
        if settings_of(cfg).shown is not None:
            raise ValueError(NOT_TRAINED)
        return cfg

    def control(self, config):
        if config.MODEL.META_ARCHITECTURE != 'DenoiseRep':
            raise ValueError('The config has no DenoiseRep: set MODEL.META_ARCHITECTURE to it.')
        cfg = config.clone()
        cfg.MODEL.META_ARCHITECTURE = cfg.MODEL.DENOISEREP.META_ARCH
        return cfg

    def text(self, config) -> str:
        return config.dump()

    def train(self, stage: Stage, config, work_dir: Path, resume: bool) -> Path:
        cfg = config.clone()
        cfg.SEED, cfg.OUTPUT_DIR = stage.seed, str(work_dir)
        cfg.MODEL.WEIGHTS = '' if stage.checkpoint is None else str(stage.checkpoint)
        self._train_net(stage, 'train', cfg, ['--resume'] if resume else [])
        return work_dir / 'model_final.pth'

    def test(self, stage: Stage, config, checkpoint: Path, work_dir: Path) -> dict[str, float]:
        cfg = config.clone()
        cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR = str(checkpoint), str(work_dir)
        self._train_net(stage, 'test', cfg, ['--eval-only'])
        results = json.loads((work_dir / 'results.json').read_text())
        if len(results) == 1:
            return next(iter(results.values()))
        return {f'{name}/{metric}': value for name, result in results.items()
                for metric, value in result.items()}

    def _train_net(self, stage: Stage, verb: str, cfg, options: list[str]) -> None:
        config_file = stage.folder / f'{verb}.yml'
        config_file.write_text(cfg.dump())
        stage.call([sys.executable, '-m', 'denoiserep_ext.reid.train_net', '--config-file',
                    str(config_file), *options])

    def costs(self, config, checkpoint: Path, plain: Path, work_dir: Path,
              timing: bool) -> dict[str, Any]:
        setup_logger()  # FastReID's trainer would, and print every model
        logging.getLogger('fastreid').setLevel(logging.ERROR)
        unfused, fused, stock = self._models(config, checkpoint, plain)
        loader, _ = Trainer.build_test_loader(config, config.DATASETS.TESTS[0])
        images = next(iter(loader))['images'].to(config.MODEL.DEVICE)
        with torch.no_grad(), explicit_path(unfused):
            ours = unfused({'images': images.clone()})
            theirs = fused({'images': images.clone()})
        costs: dict[str, Any] = {
            'fused_against_unfused': ((ours - theirs).abs().max() / ours.abs().max()).item()}
        if timing:
            inference = inference_costs(fused.backbone, stock.backbone, images)
            times = step_times({'plain': self.control(config), 'denoiserep': config}, work_dir)
            costs.update(step_time=times['denoiserep'] / times['plain'],
                         parameters=numbers_held(unfused, config.MODEL.DENOISEREP.FOLD_INTERVAL),
                         inference_time=inference['time'], operators=inference['operators'])
        return costs

    def _models(self, config, checkpoint: Path, plain: Path) -> tuple[nn.Module, ...]:
        """Unfused, fused and untrained model."""
        cfg, settings = self.control(config), settings_of(config)
        cfg.MODEL.BACKBONE.PRETRAIN = False
        fused_state = read_checkpoint(plain)['model']
        cfg.MODEL.HEADS.NUM_CLASSES = num_classes(fused_state)
        unfused, fused, stock = (Trainer.build_model(cfg).eval() for _ in range(3))
        fused.load_state_dict(fused_state, strict=True)
        state = read_checkpoint(checkpoint)
        convert_(find_part(unfused, settings.target), settings.config)
        unfused.load_state_dict(unpack(unfused, state['model'], state[KEY]['raw']), strict=True)
        return unfused, fused, stock


def step_times(configs: dict[str, Any], work_dir: Path, iterations: int = 30, rounds: int = 2,
               warmup: int = 5) -> dict[str, float]:
    """Median seconds of the real trainer's iteration for each config, hooks included and loading of
    data too, in turns within this process.

    Args:
        configs: Configs by name, trained from fresh weights.
        work_dir: For the trainers' logs.
        iterations: Steps timed per round.
        rounds: How often each config has its turn, so that a drifting machine hits all alike.
        warmup: Steps before those timed.
    """
    times: dict[str, list[float]] = {name: [] for name in configs}
    for turn in range(rounds):
        for name, config in configs.items():
            cfg = config.clone()
            cfg.OUTPUT_DIR = str(work_dir / f'{name}-{turn}')
            cfg.MODEL.BACKBONE.PRETRAIN, cfg.MODEL.WEIGHTS = False, ''
            Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
            trainer = Trainer(cfg)
            trainer.resume_or_load(resume=False)
            timer = _Timer()
            kept = (DenoisingHook, EpochSeed, LRScheduler)  # neither tests nor checkpoints
            learning = [hook for hook in trainer._hooks if isinstance(hook, kept)]
            trainer._hooks = []
            trainer.register_hooks([timer.first, *learning, timer.last])
            TrainerBase.train(trainer, 0, 1, warmup + iterations)
            times[name] += timer.seconds[warmup:]
    return {name: statistics.median(values) for name, values in times.items()}


class _Timer:
    """Times an iteration from before the first hook to after the last one."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.first = CallbackHook(before_step=self._start)
        self.last = CallbackHook(after_step=self._stop)

    def _start(self, _trainer) -> None:
        self._started = time.perf_counter()

    def _stop(self, _trainer) -> None:
        self.seconds.append(time.perf_counter() - self._started)
