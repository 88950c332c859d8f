"""One model denoised at some strength, from moments that serve every strength."""
from __future__ import annotations

import copy

from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_, fuse_, step_sizes
from denoiserep_ext.core.layers import denoise_layers
from denoiserep_ext.core.optimum import Optimum


def denoised(model: nn.Module, moments: dict, config: DenoiseRepConfig,
             part: str = '') -> tuple[nn.Module, list[int], float]:
    """A fused copy of a model.

    Args:
        model: A plain model; not changed.
        moments: What each layer to convert has seen, by its name in the model.
        config: Settings, strength included.
        part: Dotted name of what to convert, ``''`` for all.

    Returns:
        The copy, its layers' steps in forward order, and the mean of ``||W' - W|| / ||W||``.
    """
    twin = copy.deepcopy(model)
    report = convert_(twin.get_submodule(part), config)
    for name, layer in denoise_layers(twin):
        optimum = Optimum(layer, moments[name])
        layer.denoiser.set_(optimum.weight, optimum.bias)
    sizes = step_sizes(twin)
    return fuse_(twin), [layer.step for layer in report.converted], sum(sizes.values()) / len(sizes)
