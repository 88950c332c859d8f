"""What a layer should have given, and what it reads and gives now."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layer.sampling import mix
from .following import Follower, Track
from .positions import Positions, draw_rows
from .regression import PairSums
from .replay import Replay, Run, stop
from .tracing import Exit


@dataclass
class Place:
    """One layer as the collectors see it.

    Attributes:
        name: Its name.
        layer: The layer.
        index: Its place among all fitted layers, part of the seed of its draws.
        calls: How often a forward calls it.
        positions: What it reads and gives where.
        exit: What follows it.
        skip: Whether the sum with the skip connection behind it is what counts.
    """

    name: str
    layer: nn.Module
    index: int
    calls: int
    positions: Positions
    exit: Exit
    skip: bool


class Collector:
    """Looks at layers in forwards at drawn positions, the same ones in every stream.

    Args:
        places: The layers.
        wanted: Positions per image and call.
        seed: Seed of the draws.
        constants: Addresses of the model's parameters and buffers.
        draws: What was drawn before, by everything that draws depend on: drawing anew would take longer
            than many a layer.
    """

    def __init__(self, places: list[Place], wanted: int, seed: int, constants: set[int],
                 draws: dict[tuple[int, ...], tuple[Tensor, Tensor]] | None = None) -> None:
        self.places, self.wanted, self.seed, self.constants = places, wanted, seed, constants
        self.draws = {} if draws is None else draws
        self._pending: dict[int, tuple] = {}

    @contextmanager
    def watching(self, run: Run, first_image: int, images: int) -> Iterator[None]:
        """Within the context the layers are observed.

        Args:
            run: The current forward.
            first_image: Number of its first image among all.
            images: Images in it.
        """
        self.run, self.first_image, self.images = run, first_image, images
        self._calls: dict[str, int] = defaultdict(int)
        # Not an attribute: collector and follower would refer to each other, and the sums would stay
        # until Python looked for cycles, which a few large tensors do not make it do.
        follower = Follower(self.constants, self._at_sum)
        handles = [place.layer.register_forward_hook(self._hook(place, follower), with_kwargs=True)
                   for place in self.places]
        try:
            with follower:
                yield
        finally:
            self._pending.clear()
            for handle in handles:
                handle.remove()

    def _hook(self, place: Place, follower: Follower):
        def hook(_layer, args, kwargs, output):
            x = args[0] if args else kwargs['input']
            call = self._calls[place.name]
            self._calls[place.name] += 1
            at = x if place.positions.pointwise else output
            count = place.positions.count(at)
            if not count:
                return
            rows, image = self._draw(place, call, count, at.device)
            given = place.positions.vectors(at, rows)
            reads = self.read(place, x, output, rows)
            if place.skip:
                track = follower.follow(place.name, output)
                self._pending[id(track)] = place, call, rows, image, reads, given
            else:
                self._take(place, call, image, reads, given)

        return hook

    def _draw(self, place: Place, call: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Places, on the device, and the image of each; see :func:`draw_rows`."""
        key = place.index, self.first_image, call, count, self.images
        if key not in self.draws:
            generator = torch.Generator().manual_seed(
                mix(self.seed, place.index, self.first_image, call))
            rows, image = draw_rows(count, self.images, self.wanted, generator)
            self.draws[key] = rows.to(device), image
        return self.draws[key]

    def read(self, place: Place, x: Tensor, output: Tensor, rows: Tensor) -> Tensor | None:
        """What the layer reads, where it is wanted."""
        return place.positions.reads(x, output, rows)

    def _at_sum(self, track: Track, other: Tensor) -> None:
        place, call, rows, image, reads, given = self._pending.pop(id(track))
        given = given * place.exit.scale + _skip_at(place, track, other, rows)
        self._take(place, call, image, reads, given)

    def _take(self, place: Place, call: int, image: Tensor, reads: Tensor | None, given: Tensor) -> None:
        raise NotImplementedError


class Targets(Collector):
    """Keeps what the layers of the trained model give for clean images.

    Args:
        replay: Is told whenever an output was taken: a forward may be stopped then.
        *args: See :class:`Collector`.

    Attributes:
        kept: By layer name, first image and call: outputs [n, out] (or, pointwise, inputs).
    """

    def __init__(self, replay: Replay, *args) -> None:
        super().__init__(*args)
        self.replay = replay
        self.kept: dict[tuple[str, int, int], Tensor] = {}
        self._sums: dict[str, list] = {}
        self._taken = 0

    @contextmanager
    def watching(self, run: Run, first_image: int, images: int) -> Iterator[None]:
        self._taken = 0
        with super().watching(run, first_image, images):
            yield

    def complete(self) -> bool:
        """Whether every call of every layer has been seen in the current forward."""
        return self._taken == sum(place.calls for place in self.places)

    def read(self, *_args) -> None:
        return None

    def _take(self, place, call, image, reads, given) -> None:
        self.kept[place.name, self.first_image, call] = given
        wide = given.double()
        sums = self._sums.setdefault(place.name, [0, 0.0, 0.0])
        for index, value in enumerate((len(wide), wide.sum(0), wide.square().sum(0))):
            sums[index] = sums[index] + value
        self._taken += 1
        self.replay.stop_if_complete()

    def variance(self, name: str) -> float:
        """Summed variance of a layer's targets."""
        count, total, squares = self._sums[name]
        return (squares / count - (total / count).square()).clamp_min(0).sum().item()


class Lacks(Collector):
    """Adds what a layer reads now, and what its output lacks of its target, to sums.

    Args:
        place: The layer.
        targets: Of the trained model.
        dtype: Precision of the products.
    """

    def __init__(self, place: Place, targets: Targets, dtype: torch.dtype) -> None:
        super().__init__([place], targets.wanted, targets.seed, targets.constants,
                         targets.draws)
        self.targets, self._done = targets, 0
        sizes, device = place.positions.sizes, place.layer.weight.device
        # By half of the images: sums of worse images, and of clean ones.
        self.halves = tuple(tuple(PairSums(*sizes, device, dtype) for _ in range(2)) for _ in range(2))

    @contextmanager
    def watching(self, run: Run, first_image: int, images: int) -> Iterator[None]:
        self._done = 0
        with super().watching(run, first_image, images):
            yield

    def _take(self, place, call, image, reads, given) -> None:
        target = self.targets.kept.get((place.name, self.first_image, call))
        if target is None or target.shape != given.shape:
            raise ValueError(f'{place.name} gives other shapes for a worse image than for the clean '
                             f'one: leave it out of layers.')
        kind = int(self.run.stream == 1)
        lack = (target - given).reshape(len(given), place.positions.groups, -1)
        # Images are given to halves in turn; where rows belong to no single image, rows are.
        half = (self.first_image + image if int(image.max()) + 1 == self.images
                else torch.arange(len(given)) // max(1, len(given) // 2)) % 2
        half = half.to(lack.device)
        for index in range(2):
            chosen = half == index
            self.halves[index][kind].update(reads[chosen], lack[chosen])
        self._done += 1
        if self._done == place.calls:
            stop()


def _skip_at(place: Place, track: Track, other: Tensor, rows: Tensor) -> Tensor:
    """The skip connection's values where the layer's outputs at ``rows`` are added to it [n, out]."""
    if not track.moves:
        return place.positions.vectors(other, rows)
    places = track.places().flatten()
    back = places.new_full((track.output.numel(), ), -1)
    back[places] = torch.arange(len(places), device=places.device)
    own = torch.arange(track.output.numel(), device=places.device).view(track.output.shape)
    at = back[place.positions.vectors(own, rows)]
    # What was padded and is cut off again is added to nothing.
    return torch.where(at < 0, 0, other.flatten()[at.clamp_min(0)])
