"""ResNet-20, unlabelled images to fit it on, and images to score it on."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from denoiserep_ext import PairConfig, denoise_pairs_
from denoiserep_ext.core.pairs.report import PairReport
from tests.measure.cifar import load_pixels, load_resnet20, normalise
from tests.measure.worse import worsener

HELD = 1500  # train images for choosing settings, never fitted on
TEST_SEED = 99


@dataclass(frozen=True)
class Sample:
    """Images to fit on, clean and made worse in one or several ways, and their labels, which only
    the fine-tuning looks at."""

    clean: Tensor
    worse: list[Tensor]
    labels: Tensor

    def pairs(self) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Batches for :func:`~denoiserep_ext.denoise_pairs_`."""
        for start in range(0, len(self.clean), 64):
            part = slice(start, start + 64)
            yield self.clean[part], [worse[part] for worse in self.worse]


class Bench:
    """The trained model and its images.

    Args:
        data: Folder of real test data.
        held: Score on train images held out for choosing settings, not on the test images.
        limit: Images to score on; None: all.
        device: Where models run.
    """

    def __init__(self, data: Path, held: bool = False, limit: int | None = None,
                 device: str = 'cpu') -> None:
        self.data, self.device = data, device
        self._train, self._labels = load_pixels(data, 'train')
        order = np.random.default_rng(0).permutation(len(self._train))
        kept, self._free = order[:HELD], order[HELD:]
        pixels, labels = load_pixels(data, 'test')
        if held:
            pixels, labels = self._train[kept], self._labels[kept]
        self._scored, self.labels = pixels[:limit], labels[:limit]
        self.scored = cache(self._make_worse)

    def model(self) -> nn.Module:
        """A copy of the trained model, in evaluation mode."""
        return load_resnet20(self.data).to(self.device)

    def sample(self, noises: Sequence[str], images: int, seed: int = 0) -> Sample:
        """Train images drawn by a seed; no image is one of those held out."""
        drawn = np.random.default_rng(seed).permutation(self._free)[:images]
        pixels = self._train[drawn]
        worse = [normalise(worsener(noise)(pixels, 1 + seed)).to(self.device) for noise in noises]
        return Sample(normalise(pixels).to(self.device), worse, self._labels[drawn].to(self.device))

    def denoised(self, noises: Sequence[str], images: int = 500, seed: int = 0,
                 **options) -> tuple[nn.Module, PairReport]:
        """A copy denoised from pairs, and the report; options are those of ``PairConfig``."""
        model = self.model()
        return model, denoise_pairs_(model, self.sample(noises, images, seed).pairs(),
                                     PairConfig(**options))

    @torch.no_grad()
    def right(self, model: nn.Module, noise: str = 'clean') -> np.ndarray:
        """Whether each of the scored images is told right, 0 or 100 [images]."""
        model.eval()
        guesses = torch.cat([model(batch.to(self.device)).argmax(1).cpu()
                             for batch in self.scored(noise).split(256)])
        return 100.0 * (guesses == self.labels).numpy()

    def _make_worse(self, noise: str) -> Tensor:
        pixels = self._scored
        return normalise(pixels if noise == 'clean' else worsener(noise)(pixels, TEST_SEED))
