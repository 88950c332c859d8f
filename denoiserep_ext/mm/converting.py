"""Converting what a hook selects, or taking over what is converted already."""
from __future__ import annotations

from mmengine.logging import print_log
from torch import nn

from ..core.fit.recipes import Recipe
from ..core.layer.config import DenoiseRepConfig
from ..core.layer.conversion import convert_
from ..core.layer.layers import denoise_layers
from ..core.layer.selection import find_part


def convert_or_adopt_(model: nn.Module, target: str, config: DenoiseRepConfig,
                      recipe: Recipe) -> DenoiseRepConfig:
    """Convert a part of the model, and say so in the log.

    Args:
        model: The bare model.
        target: The part's dotted name, ``''`` for all of it.
        config: What to convert in it, and how.
        recipe: For the log.

    Returns:
        The settings the layers have: those given, or those that DenoiseRepBackbone was given.

    Raises:
        ValueError: if there is nothing to convert, or one of several parts is converted already.
    """
    part = find_part(model, target)
    if any(True for _ in denoise_layers(part)):
        return _adopt(part, config)
    report = convert_(part, config)
    parts = list(config.layers) if isinstance(config.layers, dict) else [target]
    print_log(f'DenoiseRep converts {", ".join(parts) or "the model"} (recipe {recipe.name}, '
              f'solver {config.solver}):\n{report}', 'current')
    return config


def _adopt(part: nn.Module, asked: DenoiseRepConfig) -> DenoiseRepConfig:
    layers = [layer for _, layer in denoise_layers(part)]
    if isinstance(asked.layers, dict):
        missing = [name for name in asked.layers
                   if not any(True for _ in denoise_layers(find_part(part, name)))]
        if missing:
            raise ValueError(f'Some parts are converted already (by DenoiseRepBackbone?) and '
                             f'{", ".join(missing)} not: configure the plain backbone and let '
                             f'DenoiseRepHook convert all of them.')
    config = layers[0].denoise_config
    if config.solver == 'sgd':  # now, before EMAHook pairs parameters with its copy's
        for layer in layers:
            layer.denoiser.trainable_()
    print_log(f'DenoiseRep trains the {len(layers)} layers that are converted already (by '
              f'DenoiseRepBackbone, say), with their settings: {config}', 'current')
    return config
