"""What a trained DenoiseRep model costs, and how exactly it was fused."""
from __future__ import annotations

import copy
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..core.files.plain import KEY, unpack
from ..core.files.reading import read_checkpoint
from ..core.layer.config import DenoiseRepConfig
from ..core.layer.conversion import convert_
from ..core.layer.layers import explicit_path
from ..mm.models import build_model
from ..mm.options import selection_of
from .costs import inference_costs, numbers_held

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
    target, _ = selection_of(_hook_of(config))
    convert_(unfused.get_submodule(target), DenoiseRepConfig(**state[KEY]['config']))
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
    """Numbers held while training over those of the plain model, see :func:`numbers_held`."""
    model, options = build_model(without_hook(config)), _hook_of(config)
    hook = {k: v for k, v in options.items() if k in DenoiseRepConfig.__dataclass_fields__}
    target, hook['layers'] = selection_of(options)
    convert_(model.get_submodule(target), DenoiseRepConfig(**hook))
    return numbers_held(model, options.get('fold_interval', 1))


def step_times(configs: dict[str, Config], work_dir: Path, iterations: int = 40,
               warmup: int = 5) -> dict[str, float]:
    """Median seconds of a real Runner's training step for each config, in turns step by step within
    this process: a machine that drifts or is disturbed is so for all alike.

    Args:
        configs: Configs by name, trained from fresh weights.
        work_dir: For the runners' logs.
        iterations: Steps timed of each.
        warmup: Steps before those timed.
    """
    turns = Turns(configs)
    runners = {}
    for name, config in configs.items():
        cfg = copy.deepcopy(config)
        cfg.merge_from_dict(dict(
            work_dir=str(work_dir), load_from=None, resume=False, log_level='ERROR',
            experiment_name=f'timing-{name}-{time.monotonic_ns()}'))
        for key in [k for k in cfg if k.startswith(('val_', 'test_'))]:
            cfg.pop(key)
        cfg.train_cfg = dict(by_epoch=False, max_iters=warmup + iterations + 1)
        cfg.param_scheduler = None
        cfg.default_hooks = dict(checkpoint=None, logger=None)
        cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
        runners[name] = Runner.from_cfg(cfg)
        runners[name].register_hook(_Before(turns, name))
        runners[name].register_hook(_After(turns, name))
    with ThreadPoolExecutor(len(runners)) as pool:
        jobs = [pool.submit(turns.run, name, runner.train) for name, runner in runners.items()]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            turns.stop()  # the pool would wait for all of their steps
            raise
    # The last step of a run solves once more.
    return {name: statistics.median(seconds[warmup:-1]) for name, seconds in turns.seconds.items()}


class Turns:
    """Lets threads run one at a time, in a fixed order, and times what each does in its turns.

    Args:
        names: Of the threads.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self._order, self._condition = list(self.seconds), threading.Condition()
        self._ready: set[str] = set()
        self._start, self._stopped = 0.0, False

    def run(self, name: str, job: Callable[[], Any]) -> None:
        """Run a job, which takes its turns, to its end."""
        try:
            job()
        finally:
            with self._condition:  # the others go on without it
                self._ready.add(name)
                self._order.remove(name)
                self._condition.notify_all()

    def stop(self) -> None:
        """Let no thread begin another turn."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def begin(self, name: str) -> None:
        """Wait for the turn; the first one comes when all are ready.

        Raises:
            RuntimeError: after :meth:`stop`.
        """
        with self._condition:
            self._ready.add(name)
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._stopped or (
                len(self._ready) == len(self.seconds) and self._order[0] == name))
            if self._stopped:
                raise RuntimeError('Timing was stopped.')
            self._start = time.perf_counter()

    def end(self, name: str) -> None:
        """Note the time and pass the turn on."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        with self._condition:
            self.seconds[name].append(time.perf_counter() - self._start)
            self._order.append(self._order.pop(0))
            self._condition.notify_all()


class _Before(Hook):
    priority = 'HIGHEST'

    def __init__(self, turns: Turns, name: str) -> None:
        self.turns, self.name = turns, name

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.turns.begin(self.name)


class _After(Hook):
    priority = 'LOWEST'

    def __init__(self, turns: Turns, name: str) -> None:
        self.turns, self.name = turns, name

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.turns.end(self.name)


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
