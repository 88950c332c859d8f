"""Moments kept up while a host trains."""
from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..layer.layers import require_denoise_layers
from ..layer.loss import LossObserver
from ..processes import several_processes
from .moments import ACCURACY
from .observers import MomentObserver
from .optimum import optima


class RunningMoments:
    """Moments kept up during training, and the predictors solved from them now and then.

    Args:
        model: A converted model; its layers start to observe.
        moment_tokens: Feature vectors drawn per layer and step, whatever its images are; None uses all.
        decay: How much the past counts after each solving (0..1), so that the moments follow the
            moving features.
        every: Observe every so many steps only.
    """

    def __init__(self, model: nn.Module, moment_tokens: int | None = 256, decay: float = 0.9,
                 every: int = 1) -> None:
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f'decay must lie in [0, 1], got {decay!r}.')
        self.layers, self.decay = dict(require_denoise_layers(model)), decay
        self.observers = {name: MomentObserver(layer, moment_tokens, torch.float32, every)
                          for name, layer in self.layers.items()}
        for name, layer in self.layers.items():
            for observer in layer.observers:
                if isinstance(observer, LossObserver):
                    observer.moments = self.observers[name].moments
            layer.observers = (self.observers[name], *layer.observers)

    @torch.no_grad()
    def refresh(self, solve: bool) -> dict[str, dict[str, float]]:
        """Sum the moments over processes, solve the predictors from them if asked, let the past
        fade.

        Products are float32; those of a layer become float64 from here on where float32 was found to
        round more than a fiftieth of its noise away.

        Returns:
            ``loss``: the expected denoising loss before solving, ``floor``: the least possible
            one, each by layer name.

        Raises:
            ValueError: if a layer has seen nothing.
            FloatingPointError: naming a layer whose features are not finite, or whose precision cannot
                hold its predictor.
        """
        figures: dict[str, dict[str, float]] = {'loss': {}, 'floor': {}}
        names = {layer: name for name, layer in self.layers.items()}
        totals = ((layer, self.observers[name].moments.reduced())
                  for name, layer in self.layers.items())
        for optimum in optima(totals):
            name = names[optimum.layer]
            figures['loss'][name] = optimum.loss(torch.float32)  # for a log float32 will do
            if solve:
                optimum.write_()
            figures['floor'][name] = optimum.floor()
            moments = self.observers[name].moments.decay_(self.decay)
            if optimum.error() > ACCURACY:
                moments.dtype = torch.float64  # what float32 has rounded fades with the past
        return {kind: {name: values[name] for name in self.layers} for kind, values in figures.items()}

    def share_(self) -> None:
        """Give every process the same share of the sum, so that the state of any of them stands
        for all. Nothing to do in a single process."""
        if not several_processes():
            return
        for observer in self.observers.values():
            total = observer.moments.reduced().decay_(1 / dist.get_world_size())
            observer.moments.load_state_dict(total.state_dict())

    def reset_(self) -> None:
        """Forget all features."""
        for observer in self.observers.values():
            observer.moments.reset_()

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, by layer name."""
        return {name: {'calls': o.calls, 'double': o.moments.dtype == torch.float64,
                       **o.moments.state_dict()}
                for name, o in self.observers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`state_dict`.

        Raises:
            ValueError: if it is of another selection of layers or another model.
        """
        if state.keys() != self.observers.keys():
            odd = sorted(state.keys() ^ self.observers.keys())
            raise ValueError(f'The saved moments belong to another selection of layers: {odd[:3]}.')
        for name, observer in self.observers.items():
            observer.calls = state[name]['calls']
            observer.moments.load_state_dict(state[name])
            if state[name].get('double'):
                observer.moments.dtype = torch.float64
