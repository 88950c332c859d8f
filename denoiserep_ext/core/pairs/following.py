"""Following a layer's output through the operations of a forward, as far as they are affine: to the
BatchNorm that can take its bias, and to the sum with a skip connection."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..trees import tensors_in

# Operations that only move elements about, and those that copy them.
_VIEWS = {'view', '_unsafe_view', 'reshape', '_reshape_alias'}
_MOVES = _VIEWS | {'permute', 'transpose', 't', 'unsqueeze', 'squeeze', 'roll', 'slice', 'select',
                   'alias', 'detach'}
_COPIES = {'clone', 'contiguous'}
_SUMS = {'add', 'add_'}
_PRODUCTS = {'mul', 'mul_', 'div', 'div_'}

Move = Callable[[Tensor], Tensor]


@dataclass
class Track:
    """Where a layer's output has got to.

    Attributes:
        name: The layer.
        output: Its output; holding it keeps its memory from being used again.
        here: The tensor it is now.
        scale: Factor on it, in its own layout; None is 1.
        moves: How elements were moved since.
        norm: Running mean of the BatchNorm that was the first to read it, or None.
        steps: Operations so far.
        forked: Whether anything else reads it on its way.
    """

    name: str
    output: Tensor
    here: Tensor
    scale: Tensor | None = None
    moves: list[Move] = field(default_factory=list)
    norm: Tensor | None = None
    steps: int = 0
    forked: bool = False

    def places(self) -> Tensor:
        """For every element of ``here`` its place among the output's elements."""
        index = torch.arange(self.output.numel(), device=self.output.device).view(self.output.shape)
        for move in self.moves:
            index = move(index)
        return index


class Follower(TorchDispatchMode):
    """While it is active, outputs given to :meth:`follow` are followed.

    Args:
        constants: Addresses of the model's parameters and buffers: what is multiplied or added with
            them is an affine map, not a sum with a skip connection.
        at_sum: Called with the track and the other summand, before they are added.
        scales: Whether the factor on an output is wanted.
    """

    def __init__(self, constants: set[int], at_sum: Callable[[Track, Tensor], None],
                 scales: bool = False) -> None:
        super().__init__()
        self.constants, self.at_sum, self.scales = constants, at_sum, scales
        self.tracks: dict[int, Track] = {}
        self.spent: dict[int, Track] = {}

    def follow(self, name: str, output: Tensor) -> Track:
        """Follow a layer's output from here on."""
        track = self.tracks[_address(output)] = Track(name, output, output)
        return track

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not self.tracks and not self.spent:
            return func(*args, **kwargs)
        inputs = tensors_in((args, kwargs))
        for tensor in inputs:
            if _address(tensor) in self.spent:
                self.spent[_address(tensor)].forked = True
        touched = [t for t in inputs if _address(t) in self.tracks]
        if not touched:
            return func(*args, **kwargs)
        address = _address(touched[0])
        track = self.tracks.pop(address)
        if len(touched) > 1 or not _same_layout(touched[0], track.here):
            self.spent[address] = track
            for tensor in touched[1:]:
                if _address(tensor) in self.tracks:
                    self.spent[_address(tensor)] = self.tracks.pop(_address(tensor))
            return func(*args, **kwargs)
        name = func._schema.name.rpartition('::')[2]
        other = self._skip(name, track, inputs, kwargs)
        if other is not None:
            self.at_sum(track, other)
        goes_on = other is None and self._advance(name, func, track, args, kwargs)
        out = func(*args, **kwargs)
        first = next(iter(tensors_in(out)), None)
        if first is None or _address(first) != address:
            self.spent[address] = track  # whoever else reads it is noticed
        if goes_on and first is not None:
            track.here, track.steps = first, track.steps + 1
            self.tracks[_address(first)] = track
        return out

    def _skip(self, name: str, track: Track, inputs: list[Tensor], kwargs: dict) -> Tensor | None:
        """The other summand, if this is a sum with something that is no constant."""
        if name not in _SUMS or len(inputs) != 2 or kwargs.get('alpha', 1) != 1:
            return None
        other = inputs[1] if _same_layout(inputs[0], track.here) and (
            _address(inputs[0]) == _address(track.here)) else inputs[0]
        if other.shape != track.here.shape or self._constant(other):
            return None
        return other

    def _constant(self, tensor: Tensor) -> bool:
        return _address(tensor) in self.constants

    def _advance(self, name: str, func, track: Track, args: tuple, kwargs: dict) -> bool:
        """Take an operation into the track; False if it is none that can be followed."""
        if name in _MOVES and isinstance(args[0], Tensor):
            move = _move(name, func, args[1:], kwargs)
            if track.scale is not None:
                track.scale = move(track.scale)
            track.moves.append(move)
            return True
        if name in _COPIES:
            return True
        if name in _SUMS:  # with a constant
            return True
        if name in _PRODUCTS:
            return self._multiply(name, track, args)
        if 'batch_norm' in name:
            return self._normalise(func, track, args, kwargs)
        return False

    def _multiply(self, name: str, track: Track, args: tuple) -> bool:
        factor = args[1] if _is(args[0], track.here) else args[0]
        if isinstance(factor, Tensor):
            if factor.dim() and not self._constant(factor):
                return False
            if name.startswith('div') and not _is(args[0], track.here):
                return False
        if self.scales:
            one = torch.ones_like(track.here) if track.scale is None else track.scale
            track.scale = one / factor if name.startswith('div') else one * factor
        return True

    def _normalise(self, func, track: Track, args: tuple, kwargs: dict) -> bool:
        given = dict(zip([a.name for a in func._schema.arguments], args)) | kwargs
        mean, var = given.get('running_mean'), given.get('running_var')
        if mean is None or given.get('training') or not _is(given.get('input'), track.here):
            return False
        if track.steps == 0:
            track.norm = mean
        if self.scales:
            eps = given.get('eps', given.get('epsilon', 1e-5))
            factor = (var + eps).rsqrt()
            if given.get('weight') is not None:
                factor = factor * given['weight']
            shape = [1, -1] + [1] * (track.here.dim() - 2)
            one = torch.ones_like(track.here) if track.scale is None else track.scale
            track.scale = one * factor.view(shape)
        return True


def _move(name: str, func, rest: tuple, kwargs: dict) -> Move:
    if name in _VIEWS:  # what is contiguous there need not be so here
        return lambda x: x.reshape(rest[0])
    return lambda x: func(x, *rest, **kwargs)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _same_layout(a: Tensor, b: Tensor) -> bool:
    return (a.shape == b.shape and a.stride() == b.stride()
            and a.storage_offset() == b.storage_offset())


def _is(a: Any, b: Tensor) -> bool:
    return isinstance(a, Tensor) and _address(a) == _address(b)
