"""A plain layer into a denoising one."""
from __future__ import annotations

from torch import nn

from .config import DenoiseRepConfig
from .denoise_layer import denoise_class
from .layer_types import layer_type_of, offset_allowed
from .predictor import NoisePredictor


def new_predictor(layer: nn.Module, config: DenoiseRepConfig) -> NoisePredictor:
    """An unfitted predictor for a plain layer, beside its weight.

    Args:
        layer: A layer whose type :func:`layer_type_of` knows.
        config: Settings.
    """
    layer_type, weight = layer_type_of(type(layer)), layer.weight
    return NoisePredictor(
        layer.groups if layer_type.spatial else 1, weight.shape[1],
        bias=offset_allowed(layer, layer_type), rank=config.rank, trainable=config.solver == 'sgd',
        train_noise=config.train_noise, device=weight.device, dtype=weight.dtype)


def attach_(layer: nn.Module, denoiser: NoisePredictor, config: DenoiseRepConfig, step: int, index: int,
            name: str) -> nn.Module:
    """Turn a plain layer into a denoising one, in place: same object, same parameters.

    Args:
        layer: A layer whose type :func:`layer_type_of` knows.
        denoiser: Its predictor.
        config: Settings.
        step: Its step, 0..T.
        index: Its place among the converted layers.
        name: Its name, for messages.
    """
    layer.__class__ = denoise_class(type(layer))
    layer.denoiser, layer.denoise_config, layer.denoise_name = denoiser, config, name
    layer.step, layer.index, layer.coefficients = step, index, config.coefficients(step)
    layer.train_path = 'explicit' if config.train_noise else 'fused'
    layer.eval_path = 'fused'
    layer.observers, layer.observing = (), True
    layer.held = layer.added = None
    return layer
