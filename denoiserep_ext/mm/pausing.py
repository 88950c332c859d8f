"""Letting the host's optimiser stand still while predictors learn."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn


class Pausable:
    """Mixed into the host's own optim wrapper type by :func:`make_pausable_`.

    While ``paused``, the host's forward runs without gradients (so DDP prepares no reduction and
    no graph is kept), and nothing is stepped: no weight decay, no momentum, no gradient scaling.
    """

    paused = False

    @contextmanager
    def optim_context(self, model) -> Iterator[None]:
        with super().optim_context(model), torch.set_grad_enabled(
                torch.is_grad_enabled() and not self.paused):
            yield

    def update_params(self, loss, *args, **kwargs) -> None:
        if self.paused:
            self._inner_count += 1  # the wrapper counts iterations to place its accumulation steps
        else:
            super().update_params(loss, *args, **kwargs)


def make_pausable_(wrapper: OptimWrapper) -> OptimWrapper:
    """Give the wrapper of a single optimiser a ``paused`` switch, in place."""
    if not isinstance(wrapper, Pausable):
        kind = type(wrapper)
        wrapper.__class__ = type(f'Pausable{kind.__name__}', (Pausable, kind), {})
    return wrapper


def pause_(wrapper: Pausable, paused: bool) -> None:
    """Pause or resume; gradients of an unfinished accumulation are dropped, not kept for later."""
    if wrapper.paused != paused:
        wrapper.zero_grad()
    wrapper.paused = paused


def train_outside_(model: nn.Module, parts: Iterable[nn.Module]) -> None:
    """Tell what computes the losses of a model in evaluation mode that it is training after all.

    Detection heads and DETR-like detectors build other outputs in evaluation mode, which their losses
    cannot take. Modules without children (BatchNorm, dropout) and the parts stay as they are.

    Args:
        model: The host's whole model.
        parts: Those of it that hold converted layers.
    """
    inside = {id(module) for part in parts for module in part.modules()}
    for module in model.modules():
        has_children = next(module.children(), None) is not None
        if module is model or (has_children and id(module) not in inside):
            module.training = True
