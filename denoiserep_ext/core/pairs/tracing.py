"""What one small forward tells of a model: which parts run, who reads whose output, and what follows
each layer."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..layer.layer_types import layer_type_of
from ..trees import tensors_in
from .following import Follower, Track

INPUT = '<input>'
END = '<output>'
_SELECTED = '<selected>'  # stands among the sources of what depends on a choice made from data
_CHOOSES = ('topk', 'sort', 'nonzero', 'masked_select', 'nms', 'unique')


@dataclass
class Exit:
    """What follows a layer.

    Attributes:
        norm: The BatchNorm that alone reads its output and can take its bias, or None.
        scale: Factor on its output [out] in the sum with a skip connection; None where there is no
            such sum.
    """

    norm: nn.Module | None = None
    scale: Tensor | None = None


@dataclass
class Trace:
    """The record of a forward.

    Attributes:
        calls: How often each unit was called, in order of its first call.
        layers: How often each layer was called, in order of its last call.
        reads: By unit (and END), the units (and INPUT) whose outputs it reads directly.
        exits: What follows each layer.
        chosen: Layers whose input depends on a choice made from the data, such as proposals.
        output: The model's output.
    """

    calls: dict[str, int] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)
    exits: dict[str, Exit] = field(default_factory=dict)
    chosen: set[str] = field(default_factory=set)
    output: Any = None


def trace(model: nn.Module, run: Callable[[], Any], inputs: Any, units: dict[str, nn.Module],
          layers: dict[str, nn.Module]) -> Trace:
    """Record one forward.

    Args:
        model: The model, in evaluation mode.
        run: Runs it on ``inputs``.
        inputs: Nested tensors.
        units: Parts to record readers of, by name.
        layers: Layers to record the exits of, by name.
    """
    result = Trace()
    constants = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    norms = {m.running_mean.untyped_storage().data_ptr(): m for m in model.modules()
             if isinstance(getattr(m, 'running_mean', None), Tensor)}
    sources = _Sources(inputs)
    sums: dict[str, list[Tensor | None]] = {}
    follower = Follower(constants, lambda track, _: sums.setdefault(track.name, []).append(
        _channel_scale(track, layers[track.name])), scales=True)
    tracks: dict[str, list[Track]] = {}
    with ExitStack() as stack:
        for name, unit in units.items():
            stack.enter_context(_hooks(unit, *sources.watch(name, result)))
        for name, layer in layers.items():
            stack.enter_context(_hooks(layer, *_layer_hooks(name, sources, follower, tracks, result)))
        stack.enter_context(torch.no_grad())
        stack.enter_context(sources)
        stack.enter_context(follower)
        result.output = run()
    result.reads[END] = sources.of(tensors_in(result.output)) - {_SELECTED}
    norm_calls = {}
    for name, own in tracks.items():
        for track in own:
            if track.norm is not None:
                key = track.norm.untyped_storage().data_ptr()
                norm_calls.setdefault(key, []).append(name)
    for name in result.layers:
        own = tracks[name]
        whole = len(own) == result.layers[name] and not any(t.forked for t in own)
        result.exits[name] = Exit(_norm_of(own, norms, norm_calls, name) if whole else None,
                                  _common(sums.get(name, []), len(own)) if whole else None)
    return result


def _layer_hooks(name: str, sources: _Sources, follower: Follower, tracks: dict, result: Trace):
    def before(_module, args, kwargs):
        if _SELECTED in sources.of(tensors_in((args, kwargs))):
            result.chosen.add(name)

    def after(_module, _args, _kwargs, output):
        count = result.layers.pop(name, 0)
        result.layers[name] = count + 1
        tracks.setdefault(name, []).append(follower.follow(name, output))

    return before, after


def _norm_of(tracks: list[Track], norms: dict[int, nn.Module], norm_calls: dict[int, list[str]],
             name: str) -> nn.Module | None:
    found = {None if t.norm is None else t.norm.untyped_storage().data_ptr() for t in tracks}
    address = found.pop() if len(found) == 1 else None
    if address not in norms or set(norm_calls[address]) != {name}:
        return None
    return norms[address]


def _common(scales: list[Tensor | None], calls: int) -> Tensor | None:
    if len(scales) != calls or any(scale is None for scale in scales):
        return None
    return scales[0] if all(torch.equal(scale, scales[0]) for scale in scales) else None


def _channel_scale(track: Track, layer: nn.Module) -> Tensor | None:
    """The factor on every output channel [out], or None where it is not one per channel."""
    channel_dim = layer_type_of(type(layer)).channel_dim
    count = track.output.shape[channel_dim]
    if track.scale is None:
        return torch.ones(count, dtype=track.output.dtype, device=track.output.device)
    channel = torch.arange(count, device=track.output.device)
    shape = [1] * track.output.dim()
    shape[channel_dim] = count
    channel = channel.view(shape).expand(track.output.shape).flatten()[track.places().flatten()]
    scale = torch.zeros(count, dtype=track.scale.dtype, device=channel.device)
    values = track.scale.expand(track.here.shape).flatten()
    scale[channel] = values
    return scale if torch.equal(scale[channel], values) else None


class _Sources(TorchDispatchMode):
    """Keeps account of whose output every tensor was computed from."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()
        self._of = {t.untyped_storage().data_ptr(): {INPUT} for t in tensors_in(inputs)}
        self._running: list[set[str]] = []  # what the units that run have read so far

    def of(self, tensors: list[Tensor]) -> set[str]:
        """Union of the tensors' sources."""
        return set().union(*(self._of.get(t.untyped_storage().data_ptr(), set()) for t in tensors))

    def watch(self, name: str, result: Trace):
        """Hooks of a unit: what it reads, and that it is the source of its output."""
        def before(_module, args, kwargs):
            reads = result.reads.setdefault(name, set())
            reads |= self.of(tensors_in((args, kwargs)))
            result.calls[name] = result.calls.get(name, 0) + 1
            self._running.append(reads)

        def after(_module, args, kwargs, output):
            self._running.pop()
            given = {t.untyped_storage().data_ptr() for t in tensors_in((args, kwargs))}
            chosen = {_SELECTED} & result.reads[name]
            for tensor in tensors_in(output):
                address = tensor.untyped_storage().data_ptr()
                # Memory shared with the input may be read through the input as well.
                old = self._of.get(address, set()) if address in given else set()
                self._of[address] = {name} | chosen | old

        return before, after

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = tensors_in((args, kwargs or {}))
        sources = self.of(inputs)
        for reads in self._running:
            reads |= sources
        if any(word in func._schema.name for word in _CHOOSES):
            sources = sources | {_SELECTED}
        given = {t.untyped_storage().data_ptr() for t in inputs}
        out = func(*args, **(kwargs or {}))
        for tensor in tensors_in(out):
            address = tensor.untyped_storage().data_ptr()
            old = self._of.get(address, set()) if address in given else set()
            self._of[address] = sources | old
        return out


class _hooks:  # noqa: N801 - a context
    """Hooks on a module for the length of a context."""

    def __init__(self, module: nn.Module, before: Callable, after: Callable) -> None:
        self.module, self.before, self.after = module, before, after

    def __enter__(self) -> None:
        self.handles = (self.module.register_forward_pre_hook(self.before, with_kwargs=True),
                        self.module.register_forward_hook(self.after, with_kwargs=True))

    def __exit__(self, *_error) -> None:
        for handle in self.handles:
            handle.remove()
