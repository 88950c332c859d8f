"""Images made worse in FastReID's data sets."""
from __future__ import annotations

import numpy as np
from fastreid.config import CfgNode
from fastreid.data.transforms import build_transforms
from PIL.Image import Image, fromarray
from torchvision.transforms import Compose

from ..corruptions.images import corrupt
from ..corruptions.names import Corruption


class Corrupt:
    """A transform that makes an image worse, as a camera or a codec does: first of all, before any
    resizing.

    Args:
        corruption: Which one, how strong.
        seed: Seed of what is drawn; an image is made worse the same way each time.
    """

    def __init__(self, corruption: Corruption, seed: int = 0) -> None:
        self.corruption, self.seed = corruption, seed

    def __call__(self, image: Image) -> Image:
        name, severity = self.corruption.name, self.corruption.severity
        return fromarray(corrupt(np.asarray(image.convert('RGB')), name, severity, self.seed))

    def __repr__(self) -> str:
        return f'Corrupt({str(self.corruption)!r}, seed={self.seed})'


def corrupted_transforms(cfg: CfgNode, corruption: Corruption, seed: int = 0) -> Compose:
    """The config's transforms for testing, behind a corruption: what a ``CommDataset`` takes."""
    return Compose([Corrupt(corruption, seed), *build_transforms(cfg, is_train=False).transforms])
