"""What a trained DenoiseRep model costs, and how exactly it was fused."""
from __future__ import annotations

import copy
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..core.config import DenoiseRepConfig
from ..core.conversion import convert_
from ..core.files import read_checkpoint
from ..core.layers import explicit_path
from ..core.plain import KEY, unpack
from ..mm.models import build_model
from ..mm.options import target_of
from .costs import inference_costs, predictor_share

HOOK = 'DenoiseRepHook'


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


def fused_against_unfused(config: Config, checkpoint: Path, fused: Path, batches: int = 3) -> float:
    """Largest difference, relative to the largest feature, between a backbone that denoises its
    features explicitly and the one read from the fused file, over test images.

    Args:
        config: Config with DenoiseRepHook.
        checkpoint: Training checkpoint of that config, raw weights and predictors.
        fused: The plain file made from it.
        batches: Test batches to compare on.
    """
    stock = without_hook(config)
    unfused, plain = build_model(stock).eval(), build_model(stock).eval()
    plain.load_state_dict(read_checkpoint(fused)['state_dict'], strict=True)
    state = read_checkpoint(checkpoint)
    part = unfused.get_submodule(target_of(_hook_of(config)))
    convert_(part, DenoiseRepConfig(**state[KEY]['config']))
    unfused.load_state_dict(unpack(unfused, state['state_dict'], state[KEY]['raw']), strict=True)
    worst = 0.0
    loader = Runner.build_dataloader(stock.test_dataloader)
    with torch.no_grad(), explicit_path(unfused):
        for _, data in zip(range(batches), loader):
            images = plain.data_preprocessor(data, False)['inputs']
            for ours, theirs in zip(_tensors(unfused.backbone(images)),
                                    _tensors(plain.backbone(images))):
                worst = max(worst, ((ours - theirs).abs().max() / ours.abs().max()).item())
    return worst


def parameter_ratio(config: Config) -> float:
    """Numbers held while training (weights and predictors) over those of the plain model."""
    model = build_model(without_hook(config))
    hook = {k: v for k, v in _hook_of(config).items() if k in DenoiseRepConfig.__dataclass_fields__}
    convert_(model.get_submodule(target_of(_hook_of(config))), DenoiseRepConfig(**hook))
    return predictor_share(model)


def step_times(configs: dict[str, Config], work_dir: Path, iterations: int = 30, rounds: int = 2,
               warmup: int = 5) -> dict[str, float]:
    """Median seconds of a real Runner's training step for each config, in turns within this process.

    Args:
        configs: Configs by name, trained from fresh weights.
        work_dir: For the runners' logs.
        iterations: Steps timed per round.
        rounds: How often each config has its turn, so that a drifting machine hits all alike.
        warmup: Steps before those timed.
    """
    times: dict[str, list[float]] = {name: [] for name in configs}
    for turn in range(rounds):
        for name, config in configs.items():
            cfg = copy.deepcopy(config)
            cfg.merge_from_dict(dict(
                work_dir=str(work_dir), load_from=None, resume=False, log_level='ERROR',
                experiment_name=f'timing-{name}-{turn}-{time.monotonic_ns()}'))
            for key in [k for k in cfg if k.startswith(('val_', 'test_'))]:
                cfg.pop(key)
            cfg.train_cfg = dict(by_epoch=False, max_iters=warmup + iterations + 1)
            cfg.param_scheduler = None
            cfg.default_hooks = dict(checkpoint=None, logger=None)
            cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
            runner = Runner.from_cfg(cfg)
            timer = StepTimer()
            runner.register_hook(timer.first)
            runner.register_hook(timer.last)
            runner.train()
            times[name] += timer.seconds[warmup:-1]  # the last step of a run solves once more
    return {name: statistics.median(values) for name, values in times.items()}


class StepTimer:
    """Times an iteration from before the first hook to after the last one, data loading excluded."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.first, self.last = _Before(self), _After(self)


class _Before(Hook):
    priority = 'HIGHEST'

    def __init__(self, timer: StepTimer) -> None:
        self.timer = timer

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.timer.start = time.perf_counter()


class _After(Hook):
    priority = 'LOWEST'

    def __init__(self, timer: StepTimer) -> None:
        self.timer = timer

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.timer.seconds.append(time.perf_counter() - self.timer.start)


def inference(config: Config, fused: Path, repeats: int = 20) -> dict[str, Any]:
    """What the fused backbone's forward costs against the stock backbone's, on a test batch.

    Args:
        config: Config with DenoiseRepHook.
        fused: Its fused file.
        repeats: Timed calls of each, in turns.

    Returns:
        ``time``, median over median; ``operators``, tensor operations of one forward, fused and
        stock.
    """
    stock = without_hook(config)
    ours, theirs = build_model(stock).eval(), build_model(stock).eval()
    ours.load_state_dict(read_checkpoint(fused)['state_dict'], strict=True)
    data = next(iter(Runner.build_dataloader(stock.test_dataloader)))
    images = ours.data_preprocessor(data, False)['inputs']
    return inference_costs(ours.backbone, theirs.backbone, images, repeats)


def _hook_of(config: Config) -> dict:
    return next(hook for hook in config.custom_hooks if hook['type'].rpartition('.')[2] == HOOK)


def _tensors(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output
    return [tensor for value in values for tensor in _tensors(value)]
