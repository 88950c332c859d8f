"""FastReID's trainer with DenoiseRep in it."""
from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from fastreid.config import CfgNode
from fastreid.engine import DefaultTrainer
from fastreid.engine.hooks import PeriodicCheckpointer
from fastreid.engine.train_loop import HookBase
from fastreid.utils.events import CommonMetricPrinter, EventWriter
from torch import nn

from ..core.files.plain import KEY
from ..core.fit.recipes import enter_phase_
from ..core.layer.fusion import held_fused
from ..core.layer.layers import denoise_layers
from .checkpoint import PlainCheckpointer, best_metric
from .compat import loading
from .config import refuse_training
from .datasets import data_root
from .divergence import divergence_named
from .hooks import DenoisingHook, EpochSeed, IterationPrinter, unwrapped

logger = logging.getLogger('fastreid.denoiserep')


class Trainer(DefaultTrainer):
    """Trains any FastReID config; ``MODEL.META_ARCHITECTURE: DenoiseRep`` brings the predictors.

    With another meta-architecture it is FastReID's own trainer, with plain checkpoints, repeatable
    runs (``SEED``) and CPUs.

    Args:
        cfg: Config read by :func:`~denoiserep_ext.reid.config.read_config`.

    Raises:
        ValueError: for noise that is shown, which is never trained.
    """

    denoising: DenoisingHook | None = None

    def __init__(self, cfg: CfgNode) -> None:
        refuse_training(cfg)
        super().__init__(cfg)

    def build_hooks(self) -> list[HookBase]:
        """FastReID's hooks, ours first: before evaluation, checkpoints and the writers of logs."""
        self.checkpointer = PlainCheckpointer.of(self.checkpointer)
        hooks = super().build_hooks()
        if is_converted(self.model):
            self.denoising = DenoisingHook(self)
            hooks.insert(0, self.denoising)
        if self.cfg.SEED >= 0:
            hooks.insert(0, EpochSeed(self.cfg.SEED))
        return hooks

    def build_writers(self) -> list[EventWriter]:
        """FastReID's writers; the terminal's one would divide by zero in runs of a few iterations."""
        return [IterationPrinter(self.max_iter) if isinstance(writer, CommonMetricPrinter) else writer
                for writer in super().build_writers()]

    def run_step(self) -> None:
        """One iteration: the host's own, or one in which predictors alone learn."""
        if self.denoising is None:
            super().run_step()
        elif self.denoising.learner.phase.host_trains:
            # Not in a hook: FREEZE_LAYERS puts parts into evaluation mode in one of its own.
            enter_phase_(self.denoising.model, self.denoising.learner.phase)
            super().run_step()
        else:
            self._denoise_step()

    def _denoise_step(self) -> None:
        """Features only: no labels, no losses, no gradients, nothing of the host moves."""
        start = time.perf_counter()
        data = next(self._trainer._data_loader_iter)
        self.storage.put_scalar('data_time', time.perf_counter() - start)
        device = torch.device(self.cfg.MODEL.DEVICE).type
        mixed = torch.autocast(device) if self.cfg.SOLVER.AMP.ENABLED else nullcontext()
        with torch.no_grad(), mixed, modes_kept(self.model):
            enter_phase_(self.denoising.model, self.denoising.learner.phase)
            self.denoising.model(data)

    def resume_or_load(self, resume: bool = True) -> None:
        """Resume the latest checkpoint of ``OUTPUT_DIR`` if asked and there, else load
        ``MODEL.WEIGHTS``."""
        if not (resume and self.checkpointer.has_checkpoint()):
            self.checkpointer.load(self.cfg.MODEL.WEIGHTS, checkpointables=[])
            if self.denoising is not None:
                self.denoising.start()
            return
        checkpoint = self.checkpointer.resume()
        self.start_epoch = checkpoint['epoch'] + 1
        if self.denoising is not None:
            if KEY not in checkpoint:
                logger.warning('The checkpoint to resume from holds no DenoiseRep state: its weights '
                               'are taken as plain ones and the predictors start from scratch.')
            self.denoising.start(checkpoint.get(KEY))
        metric = best_metric(self.cfg.OUTPUT_DIR)
        if metric is not None:  # FastReID would forget it and replace the best checkpoint by the next
            for hook in self._hooks:
                if isinstance(hook, PeriodicCheckpointer):
                    hook.best_metric = metric

    def train(self) -> Any:
        """Train; see :meth:`fastreid.engine.DefaultTrainer.train`."""
        if self.start_epoch >= self.max_epoch:
            logger.info('Epoch %d of %d is done: there is nothing to train.', self.start_epoch,
                        self.max_epoch)
            self._last_eval_results = self.test(self.cfg, self.model)
            return self._last_eval_results
        return super().train()

    @classmethod
    def build_train_loader(cls, cfg):
        """FastReID's loader, from ``DATASETS.ROOT``, on any device."""
        with loading(cfg), data_root(cfg):
            return super().build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        """FastReID's loader, from ``DATASETS.ROOT``, on any device."""
        with loading(cfg), data_root(cfg):
            return super().build_test_loader(cfg, dataset_name)

    @classmethod
    def test(cls, cfg, model) -> OrderedDict:
        """FastReID's evaluation, with the very weights a checkpoint of this moment would hold."""
        with ExitStack() as stack:
            if is_converted(model):
                with divergence_named(unwrapped(model)):
                    stack.enter_context(held_fused(model))
            return super().test(cfg, model)


def is_converted(model: nn.Module) -> bool:
    """Whether a model has denoising layers."""
    return any(True for _ in denoise_layers(model))


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Within the context training and evaluation modes may change; they are put back module by
    module, so that what the host has frozen stays so."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
