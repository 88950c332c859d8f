"""In which order a walk goes, and how far it has got."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .collecting import Place
from .material import Item

Progress = Callable[[float, str], None]


def segments_of(order: list[str], places: list[Place]) -> list[tuple[int, int, list[Place]]]:
    """Parts that are fitted one after the other: index of the first unit, number of units, layers in
    call order. A unit without layers goes with the one before it."""
    segments: list[tuple[int, int, list[Place]]] = []
    for index, name in enumerate(order):
        own = [p for p in places if not name or p.name == name or p.name.startswith(f'{name}.')]
        if own or not segments:
            segments.append((index, 1, own))
        else:
            first, count, before = segments[-1]
            segments[-1] = first, count + 1, before
    while segments and not segments[-1][2]:
        segments.pop()
    return segments


class Steps:
    """Tells how far a walk has got."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def begin(self, text: str) -> None:
        """A step without parts begins."""
        self.progress(self.done / self.total, text)

    def end(self) -> None:
        """A step without parts is over, or was not needed."""
        self.done += 1

    def over(self, items: Sequence[Item], text: str) -> Iterator[Item]:
        """A step of several items."""
        for index, item in enumerate(items):
            self.progress((self.done + index / len(items)) / self.total, text)
            yield item
        self.end()
