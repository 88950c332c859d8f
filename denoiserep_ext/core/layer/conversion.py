"""Plain layers into denoising layers, and the report about it."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin

from .attaching import attach_, new_predictor
from .config import DenoiseRepConfig
from .folding import check_finite
from .fusion import fuse_
from .layer_types import layer_type_of
from .loss import track_loss_
from .merging import fuse_before_merging_
from .selection import select


@dataclass(frozen=True)
class LayerReport:
    """What became of one embedding layer.

    Attributes:
        name: Its name below the model.
        kind: Its type's name.
        shape: Its weight's shape, empty where it has none.
        groups: Diagonal blocks of its predictor.
        step: Its step (with a strength, the nearest one), or None if it was not converted.
        reason: Why not, or None.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    groups: int
    step: int | None
    reason: str | None


@dataclass(frozen=True)
class ConversionReport:
    """What :func:`convert_` did; ``str(report)`` is a table.

    Attributes:
        layers: One report per embedding layer, in definition order.
        strength: The noise level of every converted layer, or None where each has a step instead.
    """

    layers: tuple[LayerReport, ...]
    strength: float | None = None

    @property
    def converted(self) -> tuple[LayerReport, ...]:
        """The converted layers, in definition order."""
        return tuple(layer for layer in self.layers if layer.step is not None)

    @property
    def skipped(self) -> tuple[LayerReport, ...]:
        """The others, each with its reason."""
        return tuple(layer for layer in self.layers if layer.step is None)

    def __iter__(self) -> Iterator[LayerReport]:
        return iter(self.layers)

    def __str__(self) -> str:
        level = 'step' if self.strength is None else 'strength'
        rows = [('layer', 'type', 'shape', 'groups', level, 'converted')]
        rows += [(layer.name, layer.kind, 'x'.join(map(str, layer.shape)), str(layer.groups),
                  '-' if layer.step is None else self._level(layer),
                  f'no: {layer.reason}' if layer.step is None else 'yes') for layer in self.layers]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        lines = ['  '.join([cell.ljust(width) for cell, width in zip(row, widths)] + [row[-1]])
                 for row in rows]
        lines.insert(1, '-' * max(map(len, lines)))
        return '\n'.join(lines + [f'{len(self.converted)} of {len(self.layers)} layers converted'])

    def _level(self, layer: LayerReport) -> str:
        return str(layer.step) if self.strength is None else f'{self.strength:g}'


def convert_(model: nn.Module, config: DenoiseRepConfig | None = None,
             example_inputs: Any = None) -> ConversionReport:
    """Put a noise predictor in front of the selected layers of ``model``, in place.

    The layers stay the same objects with the same parameters under the same names; until their
    predictors are fitted the model computes exactly what it computed before.

    Args:
        model: Any torch model; usually the backbone.
        config: What to convert and how; the defaults if None.
        example_inputs: If given, ``model(*example_inputs)`` (or ``model(example_inputs)`` for a
            tensor) is run once without gradients in evaluation mode, and steps follow the order in
            which the layers are really called; otherwise they follow the order of definition.

    Returns:
        The report: what was converted, what was skipped and why.

    Raises:
        ValueError: if nothing is selected, a layer asked for by name cannot be converted, a layer
            is never called with ``example_inputs``, a step leaves 0..T or is too extreme for
            float32, or a selected layer is on the meta device. Nothing is changed.
        FloatingPointError: if a selected layer's weights are not finite. Nothing is changed.
    """
    config = config or DenoiseRepConfig()
    steps, report = plan(model, config, example_inputs)
    modules = dict(model.named_modules())
    # All of them before the first layer changes: this is where memory may run out.
    predictors = [new_predictor(modules[name], config) for name in steps]
    for index, (predictor, (name, step)) in enumerate(zip(predictors, steps.items())):
        attach_(modules[name], predictor, config, step, index, name or type(model).__name__)
    fuse_before_merging_(model, fuse_)
    if config.solver == 'sgd':
        track_loss_(model)
    return report


def plan(model: nn.Module, config: DenoiseRepConfig,
         example_inputs: Any = None) -> tuple[dict[str, int], ConversionReport]:
    """What :func:`convert_` would do; nothing is changed.

    Args, Raises: see there.

    Returns:
        Steps by name, in their order, and the report.
    """
    choice = select(model, config.layers)
    modules = dict(model.named_modules())
    names = [name for name, reason in choice.items() if reason is None]
    for name in names:
        _require_values(name, modules[name])
    if example_inputs is not None:
        names = _call_order(model, {name: modules[name] for name in names}, example_inputs)
    steps = dict(zip(names, config.steps_for(names)))
    layers = tuple(_describe(name, modules[name], steps.get(name), reason)
                   for name, reason in choice.items())
    return steps, ConversionReport(layers, config.strength)


def _require_values(name: str, layer: nn.Module) -> None:
    if layer.weight.is_meta:
        raise ValueError(f'{name or type(layer).__name__}: its weight is on the meta device and has no '
                         f'values. Give the model memory and weights first (model.to_empty(device=...), '
                         f'then load_state_dict), and convert it after that.')
    check_finite(name or type(layer).__name__, layer.weight, layer.bias)


def _describe(name: str, module: nn.Module, step: int | None, reason: str | None) -> LayerReport:
    weight = module._parameters.get('weight')
    known = weight is not None and not isinstance(weight, UninitializedTensorMixin)
    layer_type = layer_type_of(type(module))
    groups = module.groups if layer_type is not None and layer_type.spatial else 1
    return LayerReport(name, type(module).__name__, tuple(weight.shape) if known else (),
                       groups, step, reason)


@torch.no_grad()
def _call_order(model: nn.Module, selected: dict[str, nn.Module], example_inputs: Any) -> list[str]:
    called: dict[str, None] = {}
    handles = [module.register_forward_pre_hook(
        lambda _module, _args, name=name: called.setdefault(name)) for name, module in selected.items()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        model(*example_inputs) if isinstance(example_inputs, (tuple, list)) else model(example_inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    missing = [name for name in selected if name not in called]
    if missing:
        raise ValueError(f'The model never called {", ".join(missing[:5])} for the example inputs: '
                         f'leave these layers out of the selection.')
    return list(called)
