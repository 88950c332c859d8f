"""Every predictor's optimum from one label-free forward pass."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..layer.config import DenoiseRepConfig
from ..layer.conversion import ConversionReport, convert_
from ..layer.folding import relative_change
from ..layer.fusion import step_sizes
from ..layer.layers import DenoiseLayer, denoise_layers, require_denoise_layers
from ..layer.loss import untrack_loss_
from ..memory import trimming
from ..processes import process_share
from .moments import Moments
from .observers import CurrentBatch, PassObserver
from .optimum import Optimum, optima
from .sizes import warning_of

TOKENS = 32  # feature vectors per image and layer: a pass then costs little more than its forward


@contextmanager
def observing(model: nn.Module, tokens: int | None = None, dtype: torch.dtype | None = torch.float64,
              batch: CurrentBatch | None = None) -> Iterator[dict[str, Moments]]:
    """Within the context every forward of ``model`` adds to the moments it yields, name by name;
    the model runs as in evaluation, on its plain features.

    Args:
        model: A converted model.
        tokens: Feature vectors drawn per image and layer; None uses all.
        dtype: Precision of the products, see :func:`collect_moments`.
        batch: Kept up by the caller where ``tokens`` is given, see :class:`CurrentBatch`.
    """
    layers = require_denoise_layers(model)
    modes = [(module, module.training) for module in model.modules()]
    before = [(layer.observers, layer.observing, layer.train_path) for _, layer in layers]
    observers = {name: PassObserver(layer, batch or CurrentBatch(), tokens, dtype)
                 for name, layer in layers}
    try:
        model.eval()
        for name, layer in layers:
            layer.training = True  # observe; a Linear or Conv2d computes the same in both modes
            layer.observers, layer.observing, layer.train_path = (observers[name], ), True, 'plain'
        yield {name: observer.moments for name, observer in observers.items()}
    finally:
        for (_, layer), state in zip(layers, before):
            layer.observers, layer.observing, layer.train_path = state
        for module, training in modes:
            module.training = training


@torch.no_grad()
def collect_moments(model: nn.Module, batches: Iterable[Any], tokens: int | None = TOKENS,
                    forward: Callable[[nn.Module, Any], Any] | None = None,
                    count: Callable[[Any], int] | None = None, share: tuple[int, int] | None = None,
                    probe: Any = None, dtype: torch.dtype | None = None) -> dict[str, Moments]:
    """Moments of the inputs of every converted layer over one forward pass.

    Several processes may share a pass: batch k of the whole goes to process ``k % n``. Which positions
    are drawn depends on k alone, so however a pass is shared its moments merge to the same sums; to
    rounding of float64 if all centre on the same ``probe``.

    Args:
        model: A converted model; it stays as it is.
        batches: This process's batches, in order.
        tokens: Feature vectors drawn per image and layer, unbiased; None uses all.
        forward: How to run one batch, ``forward(model, batch)``; by default the input is moved to
            the model's device and the model is called with it.
        count: Images in a batch; by default the length of its first tensor.
        share: ``(index, of)`` of this process; by default its rank.
        probe: A batch, the same for all, that moments take their centre and scale from.
        dtype: Precision of products within a batch; sums over batches are float64. By default float32,
            good to about 1e-6 of the features' variance, and float64 for layers in float64 and wherever
            float32 would round more than a fiftieth of the noise away that the layer's own settings
            assume, ``1 - abar`` for unit noise.

    Returns:
        Moments by layer name, of this process alone.
    """
    forward, count = forward or _call, count or count_images
    index, of = share or process_share()
    current = CurrentBatch()
    with observing(model, tokens, dtype, current) as moments:
        if probe is not None:
            current.images, current.counts = count(probe), False
            forward(model, probe)
        for position, batch in enumerate(trimming(batches)):
            current.number, current.images, current.counts = index + position * of, count(batch), True
            forward(model, batch)
    return moments


def convert_to_fold_(model: nn.Module, config: DenoiseRepConfig) -> ConversionReport:
    """:func:`~denoiserep_ext.convert_` for a pass after which the optimum is folded in at once, by
    :func:`solve_and_fuse_`: predictors take no memory, and cannot be written.

    Args, Returns, Raises: see there.
    """
    report = convert_(model, config)
    for _, layer in denoise_layers(model):
        layer.denoiser.hold_nothing_()
    return report


@torch.no_grad()
def solve_(model: nn.Module, moments: dict[str, Moments]) -> dict[str, float]:
    """Set every predictor to its optimum, in place.

    Args:
        model: A converted model.
        moments: What each converted layer has seen, by name.

    Returns:
        The denoising loss each layer now has, by name, equal to its floor.

    Raises:
        ValueError: if a predictor is low-rank, or a layer has seen nothing.
        FloatingPointError: naming a layer whose features were not finite, whose noise was lost in the
            rounding of its moments, or whose precision cannot hold its predictor. Nothing is changed
            then.
    """
    layers = _solvable(model, moments)
    names, floors = {layer: name for name, layer in layers}, {}
    for optimum in optima((layer, moments[name]) for name, layer in layers):
        optimum.write_()
        floors[names[optimum.layer]] = optimum.floor()
    return {name: floors[name] for name, _ in layers}


@torch.no_grad()
def solve_and_fuse_(model: nn.Module, moments: dict[str, Moments]) -> dict[str, tuple[float, float]]:
    """Fold the optimum of every predictor into its layer, in place: no predictor is ever computed, let
    alone held.

    Args:
        model: A converted model; plain afterwards.
        moments: What each converted layer has seen, by name.

    Returns:
        By layer name the denoising loss, equal to its floor, and ``||W' - W|| / ||W||``.

    Raises:
        ValueError, FloatingPointError: see :func:`solve_`; nothing is changed then.
    """
    layers = _solvable(model, moments)
    names, results = {layer: name for name, layer in layers}, {}
    for optimum in optima((layer, moments[name]) for name, layer in layers):
        layer, before = optimum.layer, optimum.layer.weight.clone()
        floor = optimum.floor()
        layer.fuse(optimum.folded())
        results[names[layer]] = (floor, relative_change(before, layer.weight))
        del optimum  # before the next one is made
    untrack_loss_(model)
    return {name: results[name] for name, _ in layers}


def fit_one_pass_(model: nn.Module, batches: Iterable[Any], tokens: int | None = TOKENS,
                  forward: Callable[[nn.Module, Any], Any] | None = None,
                  count: Callable[[Any], int] | None = None, share: tuple[int, int] | None = None,
                  probe: Any = None, dtype: torch.dtype | None = None) -> dict[str, float]:
    """Fit every predictor in one label-free forward pass, in place.

    The model's weights, mode and BatchNorm statistics stay as they were. In a process group each
    process gives batches of its own, and all solve from the sum. A warning says where the predictors
    would change the weights so much that the model may be harmed, see
    :func:`~denoiserep_ext.step_sizes`.

    Args:
        model: A converted model.
        batches: Inputs; a tuple or list counts as ``(input, ...)`` and its rest (labels) is ignored.
            Wrap it in a progress bar of your choice.
        tokens: Feature vectors drawn per image and layer; None uses all, several times slower.
        forward: How to run one batch, ``forward(model, batch)``; by default the input is moved to
            the model's device and the model is called with it.
        count: Images in a batch; by default the length of its first tensor.
        share: ``(index, of)`` of this process; by default its rank.
        probe: A batch, the same for all, that moments take their centre and scale from.
        dtype: Precision of products within a batch. The default, see :func:`collect_moments`, is good to
            a few hundredths of the predictors' largest values; float64 is slower, and good to 1e-8.

    Returns:
        The denoising loss each layer now has, by name, equal to its floor.

    Raises:
        ValueError: if nothing is converted, a predictor is low-rank, or there are no batches.
        FloatingPointError: see :func:`solve_`; nothing is changed then.
    """
    for name, layer in require_denoise_layers(model):
        _require_full_rank(name, layer)
    moments = collect_moments(model, batches, tokens, forward, count, share, probe, dtype)
    for name in moments:
        moments[name] = moments[name].reduced()
    floors = solve_(model, moments)
    if warning := warning_of(step_sizes(model)):
        warnings.warn(warning, stacklevel=2)
    return floors


def count_images(batch: Any) -> int:
    """Length of the first tensor in a batch of nested containers.

    Raises:
        ValueError: if there is none.
    """
    if isinstance(batch, torch.Tensor):
        return len(batch)
    if isinstance(batch, dict):
        batch = list(batch.values())
    for part in batch if isinstance(batch, (list, tuple)) else ():
        if isinstance(part, (torch.Tensor, dict, list, tuple)):
            return count_images(part)
    raise ValueError(f'No tensor in a batch of {type(batch).__name__}: say how many images it has '
                     f'(count=...), and how to run it (forward=...).')


def _solvable(model: nn.Module, moments: dict[str, Moments]) -> list[tuple[str, DenoiseLayer]]:
    """The converted layers, once it is sure that each can be solved."""
    layers, unseen = require_denoise_layers(model), []
    for name, layer in layers:
        _require_full_rank(name, layer)
        if name not in moments or not moments[name].count:
            unseen.append(name)
        else:
            Optimum(layer, moments[name]).check()
    if unseen:
        raise ValueError(
            f'No features reached {", ".join(unseen[:3])}{" ..." if len(unseen) > 3 else ""}: there '
            f'were no batches, or the model does not use these layers (leave them out).')
    return layers


def _require_full_rank(name: str, layer: DenoiseLayer) -> None:
    if layer.denoiser.rank is not None:
        raise ValueError(f'{name}: a low-rank predictor is trained, not solved; convert with '
                         f'rank=None.')


def _call(model: nn.Module, batch: Any) -> Any:
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    device = next(model.parameters()).device
    return model(x.to(device))
