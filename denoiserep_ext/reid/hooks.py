"""Hooks of the trainer: learning predictors, repeatable epochs, and a printer."""
from __future__ import annotations

import logging
import random
from functools import partial
from typing import Any

import numpy as np
import torch
from fastreid.engine.train_loop import HookBase
from fastreid.utils import comm
from fastreid.utils.events import CommonMetricPrinter, get_event_storage
from torch import nn

from ..core.fit.learning import Learner, figures_told
from ..core.fit.optimizers import optimizer_like
from ..core.layer.layers import denoise_layers
from .config import settings_of
from .divergence import divergence_named

logger = logging.getLogger('fastreid.denoiserep')


class DenoisingHook(HookBase):
    """Puts the model into each phase and lets its predictors learn.

    Args:
        trainer: A :class:`~denoiserep_ext.reid.Trainer` whose model is converted.
    """

    def __init__(self, trainer) -> None:
        self.settings = settings_of(trainer.cfg)
        self.model = unwrapped(trainer.model)
        self.checkpointer = trainer.checkpointer
        self.learner: Learner | None = None

    def start(self, resumed: dict[str, Any] | None = None) -> None:
        """Learn from the weights that are loaded now.

        Args:
            resumed: State of a learner to go on from.

        Raises:
            ValueError: if it was run with other settings.
            FloatingPointError: naming a layer whose weights are not finite.
        """
        settings, host = self.settings, self.trainer.optimizer
        # FastReID mixes gradient clipping and layer freezing into its optimiser's type.
        kind = next(k for k in type(host).__mro__ if k.__module__ != 'fastreid.solver.build')
        lr = self.trainer.cfg.SOLVER.BASE_LR * settings.options.lr_mult
        optimizer = partial(optimizer_like, host, lr, kind=kind)
        self.learner = Learner(self.model, settings.config, settings.recipe, settings.options,
                               optimizer)
        logger.info(figures_told(settings.config))
        if resumed is not None:
            self.learner.load_state_dict(resumed)
        self.checkpointer.learner = self.learner.state_dict
        self._observe(False)

    def before_train(self) -> None:
        if self.learner is None:
            self.start()

    def before_step(self) -> None:
        if self.learner.enter(self.trainer.epoch):
            logger.info('DenoiseRep phase: %s', self.learner.phase.name)

    def after_step(self) -> None:
        if self.learner.phase.predictors_learn:
            with divergence_named(self.model):
                self.learner.learn(self.trainer.optimizer, self._block_ends())
        self._observe(False)  # whatever else runs the model in training mode (PreciseBN) is no sample
        self.trainer.storage.put_scalars(**self.learner.scalars)

    def after_epoch(self) -> None:
        self.learner.share_()  # one process writes the checkpoint for all

    def _block_ends(self) -> bool:
        trainer = self.trainer
        if (trainer.iter + 1) % trainer.iters_per_epoch:
            return False
        return trainer.epoch + 1 == trainer.max_epoch or self.settings.recipe.ends(trainer.epoch)

    def _observe(self, observing: bool) -> None:
        for _, layer in denoise_layers(self.model):
            layer.observing = observing


class IterationPrinter(CommonMetricPrinter):
    """Prints an iteration once, also where both the epoch and the run end with it."""

    _written = -1

    def write(self) -> None:
        iteration = get_event_storage().iter
        if iteration != self._written:
            super().write()
        self._written = iteration


class EpochSeed(HookBase):
    """Starts every epoch from seeds of its own, so that a run repeats, and resumes as if it had never
    been interrupted. FastReID draws one endless stream of batches instead.

    Args:
        seed: The run's seed, >= 0.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_epoch(self) -> None:
        trainer = self.trainer._trainer
        shared = np.random.SeedSequence([self.seed, self.trainer.epoch])
        own = np.random.SeedSequence([self.seed, self.trainer.epoch, comm.get_rank()])
        seed_all(int(own.generate_state(1)[0]))
        loader = trainer.data_loader
        loader.batch_sampler.sampler._seed = int(shared.generate_state(1)[0])
        if hasattr(loader, 'shutdown'):
            loader.shutdown()
        trainer._data_loader_iter = iter(loader)


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model within a DDP wrapper."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
