"""What measuring robustness asks of a toolbox."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from ..corruptions.names import Corruption


class Host(ABC):
    """Checkpoints of one config, its test set and its evaluator.

    Attributes:
        images: How many images are scored, in words.
        settings: Whatever decides a score beside checkpoint and corruption, as plain data.
    """

    images: str
    settings: dict

    @abstractmethod
    def probe(self, corruption: Corruption) -> None:
        """Make one image of the test set worse.

        Raises:
            ValueError: if it cannot be, naming its file.
            ImportError: without the library of corruptions.
        """

    @abstractmethod
    def score(self, models: Sequence[int], corruption: Corruption | None) -> list[dict[str, float]]:
        """Every metric of some of the checkpoints, by number, on the test set as it is (None) or made
        worse; each image is read and made worse once for all of them."""

    @abstractmethod
    def main_metric(self, metrics: dict[str, float]) -> str:
        """The metric that counts.

        Raises:
            ValueError: if the wanted one is not there.
        """


def draw(available: int, limit: int | None, seed: int) -> list[int] | None:
    """Indices of ``limit`` images in ascending order; None if that is all there are."""
    if limit is None or limit >= available:
        return None
    generator = torch.Generator().manual_seed(seed)
    return sorted(torch.randperm(available, generator=generator)[:limit].tolist())
