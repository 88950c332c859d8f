"""Which layers a selection means, and why the others are left alone."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Union

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin
from torch.nn.utils import parametrize

from .auto import LOOKS_FOR, Selection, auto, usually_left
from .layer_types import is_candidate, layer_type_of
from .layers import DenoiseLayer
from .sharing import uses_of_memory

Layers = Union[str, Sequence[str]]


def select(model: nn.Module, layers: Layers | Mapping[str, Layers]) -> Selection:
    """Every embedding layer of the model with None if it is to be converted, else the reason why
    not, in definition order.

    Args:
        model: Any torch model.
        layers: See :class:`~denoiserep_ext.DenoiseRepConfig`.

    Raises:
        ValueError: if nothing is selected, or a layer asked for by name cannot be converted.
    """
    candidates = {name: m for name, m in model.named_modules() if is_candidate(m)}
    if any(isinstance(module, DenoiseLayer) for module in candidates.values()):
        raise ValueError('The model is converted already: fuse_ it before converting it again.')
    obstacles = _obstacles(model, candidates)
    if not isinstance(layers, Mapping):
        return _select(model, layers, obstacles)
    choice = {name: obstacles[name] or _not_selected(name) for name in candidates}
    for part, inner in layers.items():
        module, prefix = find_part(model, part), f'{part}.' if part else ''
        chosen = _select(module, inner, {name: obstacles[prefix + name] for name, _ in
                                         module.named_modules() if prefix + name in candidates})
        choice.update({prefix + name: reason for name, reason in chosen.items()
                       if choice[prefix + name] is not None})  # parts may overlap
    return choice


def by_part(target: str, layers: Layers | Mapping[str, Layers]) -> dict[str, Layers]:
    """A selection in a part of a model as a mapping of parts, which :func:`select` takes for the whole
    model.

    Args:
        target: The part's dotted name, ``''`` for all of it.
        layers: What to select in it.
    """
    if not isinstance(layers, Mapping):
        return {target: layers}
    return {'.'.join(filter(None, (target, part))): inner for part, inner in layers.items()}


def find_part(model: nn.Module, name: str) -> nn.Module:
    """A part of a model by its dotted name, ``''`` for all of it.

    Raises:
        ValueError: naming the parts there are.
    """
    try:
        return model.get_submodule(name)
    except AttributeError:
        children = ', '.join(child for child, _ in model.named_children())
        raise ValueError(f'{type(model).__name__} has no part {name!r} to convert: choose one of '
                         f"{children}, or '' for the whole model.") from None


def _select(model: nn.Module, layers: Layers, obstacles: Selection) -> Selection:
    if layers == 'auto':
        found = auto(model)
        choice = {name: reason or found.get(name, _not_selected(name))
                  for name, reason in obstacles.items()}
    elif layers == 'all':
        choice = {name: reason or usually_left(name) for name, reason in obstacles.items()}
    else:
        choice = _by_name(obstacles, layers)
    if all(choice.values()):
        raise ValueError(_nothing(model, layers, choice))
    return choice


def _by_name(obstacles: Selection, layers: Layers) -> Selection:
    if isinstance(layers, str):
        try:
            pattern = re.compile(layers)
        except re.error as error:
            raise ValueError(f'layers={layers!r} is not a regular expression: {error}.') from None
        chosen = {name for name in obstacles if pattern.fullmatch(name)}
    else:
        chosen = set()
        for suffix in layers:
            found = {n for n in obstacles if n == suffix or n.endswith(f'.{suffix}')}
            if not found:
                raise ValueError(f'layers: no Linear or Conv2d has the name (or suffix) {suffix!r}. '
                                 f'There are {_some(list(obstacles))}.')
            chosen |= found
    impossible = [f'{name} ({reason})' for name, reason in obstacles.items()
                  if name in chosen and reason]
    if impossible:
        raise ValueError(f'layers={layers!r} asks for layers that cannot be converted: '
                         f'{_some(impossible)}. Narrow the selection.')
    return {name: None if name in chosen else _not_selected(name) for name in obstacles}


def _obstacles(model: nn.Module, candidates: dict[str, nn.Module]) -> Selection:
    """Why a layer cannot be converted whoever asks, or None."""
    uses = uses_of_memory(model)
    bypassed, fast_path = {}, torch.backends.mha.get_fastpath_enabled()
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            bypassed[name] = 'inside nn.MultiheadAttention, which never calls it'
        elif isinstance(module, nn.TransformerEncoderLayer) and fast_path:
            bypassed[name] = 'inside nn.TransformerEncoderLayer, whose fast path never calls it'
    return {name: _obstacle(name, module, uses, bypassed) for name, module in candidates.items()}


def _obstacle(name: str, module: nn.Module, uses: Counter, bypassed: dict[str, str]) -> str | None:
    for parent, reason in bypassed.items():
        if not parent or name.startswith(f'{parent}.'):
            return reason
    weight = module._parameters.get('weight')
    if parametrize.is_parametrized(module) or weight is None:
        return 'its weight is parametrised or quantised: remove that first'
    if isinstance(weight, UninitializedTensorMixin):
        return 'lazy and not initialised: run one forward first'
    if not weight.is_floating_point():
        return f'its weight is {weight.dtype}, not a floating type'
    if uses[id(weight)] > 1:
        return 'its weight is tied to another module'
    bias = module._parameters.get('bias')
    if bias is not None and uses[id(bias)] > 1:
        return 'its bias is shared with another module'
    if layer_type_of(type(module)) is None:
        return f'{type(module).__name__} has a forward of its own: see register_layer_type'
    return None


def _not_selected(name: str) -> str:
    return usually_left(name) or 'not selected'


def _nothing(model: nn.Module, layers: Layers, choice: Selection) -> str:
    if not choice:
        return f'{type(model).__name__} has no Linear or Conv2d layer: there is nothing to convert.'
    reasons = [f'{name} ({reason})' for name, reason in choice.items()]
    looks_for = f'{LOOKS_FOR}. ' if layers == 'auto' else ''
    return (f'Nothing to convert: layers={layers!r} selects none of the {len(choice)} embedding '
            f"layers of {type(model).__name__}: {_some(reasons)}. {looks_for}Pass layers='all', a "
            f'regular expression that matches whole names, or a list of suffixes.')


def _some(items: list[str], limit: int = 5) -> str:
    return ', '.join(items[:limit]) + (f' and {len(items) - limit} more' if len(items) > limit else '')
