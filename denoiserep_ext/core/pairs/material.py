"""The images of a walk: pairs checked, split between the fit and the judge, and put away."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ..processes import from_all
from ..trees import count_images, take, tensors_in

JUDGED_LEAST, JUDGED_MOST = 48, 0.4


class Item(NamedTuple):
    """Images that go through the model together.

    Attributes:
        number: Its place.
        images: How many.
        first: Number of its first image among those that are fitted on (or judged by).
        judged: Whether the judge keeps them.
    """

    number: int
    images: int
    first: int
    judged: bool


class Material:
    """Pairs of images, read once.

    Args:
        pairs: ``(clean, worse)`` batches; ``worse`` may be a list, one batch per corruption.
        held_out: Share of the images that the judge keeps.
        keep: Called with every item's number and its batches: clean, then each corruption.

    Attributes:
        streams: Batches per item.
        fitted, judged: Images on either side.

    Raises:
        ValueError: naming the batch whose parts do not fit together, or if there is no image.
    """

    def __init__(self, pairs: Iterable[tuple[Any, Any]], held_out: float,
                 keep: Callable[[int, Sequence[Any]], None]) -> None:
        self._items: list[Item] = []
        self._counts = [0, 0]  # fitted, judged
        self._sample: Any = None
        self.streams = 0
        for number, pair in enumerate(pairs):
            streams = _streams(pair, number)
            if self.streams not in (0, len(streams)):
                raise ValueError(f'Batch {number} of the pairs has {len(streams) - 1} worse versions, '
                                 f'those before it {self.streams - 1}: give every batch the same ones.')
            self.streams = len(streams)
            self._add(streams, held_out, keep)
        if not self.fitted:
            raise ValueError('There are no pairs of images to fit on: give at least one batch.')

    @property
    def fitted(self) -> int:
        return self._counts[0]

    @property
    def judged(self) -> int:
        return self._counts[1]

    def fitted_by_all(self) -> int:
        """Images that all processes fit on."""
        return sum(from_all(self.fitted))

    def judged_by_all(self) -> int:
        """Images that the judges of all processes keep."""
        return sum(from_all(self.judged))

    def items(self, judged: bool | None = None) -> list[Item]:
        """The judge's items, the others, or all."""
        return [item for item in self._items if judged is None or item.judged == judged]

    def sample(self, images: int) -> Any:
        """At most two clean images, as a batch."""
        return take(self._sample, range(min(images, count_images(self._sample))))

    def _add(self, streams: list[Any], held_out: float, keep) -> None:
        images, judged = range(count_images(streams[0])), self.judged
        for_judge = []
        for i in images:
            if for_the_judge(sum(self._counts) + i, judged, held_out):
                for_judge.append(i)
                judged += 1
        for judged, own in ((False, [i for i in images if i not in set(for_judge)]), (True, for_judge)):
            if not own:
                continue
            parts = [take(batch, own) for batch in streams]
            if self._sample is None:
                self._sample = take(parts[0], range(min(2, len(own))))
            keep(len(self._items), parts)
            self._items.append(Item(len(self._items), len(own), self._counts[judged], judged))
            self._counts[judged] += len(own)


def for_the_judge(number: int, judged: int, held_out: float) -> bool:
    """Whether an image goes to the judge: one every so often, so that both sides see all of the data.

    Args:
        number: Its number among all, from 0.
        judged: How many before it went there.
        held_out: Share of the images; of few images it is more, up to ``JUDGED_MOST``, until there are
            ``JUDGED_LEAST``: a handful proves nothing.
    """
    if not held_out:
        return False
    wanted = max(held_out * (number + 1), min(JUDGED_MOST * (number + 1), JUDGED_LEAST))
    return judged + 1 <= wanted


def _streams(pair: Any, number: int) -> list[Any]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f'Batch {number} of the pairs is a {type(pair).__name__}: give (clean, worse), '
                         f'worse being a batch or a list of batches.')
    clean, worse = pair
    streams = [clean, *(worse if isinstance(worse, list) else [worse])]
    if len(streams) == 1:
        raise ValueError(f'Batch {number} of the pairs has no worse version of its images.')
    shapes = [[tuple(t.shape) for t in tensors_in(batch)] for batch in streams]
    for index, own in enumerate(shapes[1:], start=1):
        if own != shapes[0]:
            raise ValueError(f'Batch {number}: worse version {index} has tensors of shapes {own}, the '
                             f'clean one {shapes[0]}. A pair shows one scene at one size.')
    return streams
