"""Which images a calibration looks at."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class DataOptions:
    """Which images are used for what.

    Args:
        images: Images of the pass; None for all there are.
        folder: Take them from below this folder, without labels, instead of from the train set.
        worse: Folder with a worse version of every image below ``folder``, under the same names.
        val_images: Validation images, None for all. Where the config's validation set is its test set
            (or there is none) they are kept out of the train set and of the pass.
        seed: Seed of every choice.
        batch_size: Images per batch; None for the config's test batches.
        workers: Loading processes; None for the config's.
    """

    images: int | None = 1024
    folder: Path | None = None
    worse: Path | None = None
    val_images: int | None = 1024
    seed: int = 0
    batch_size: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        for name, least in (('images', 1), ('val_images', 1), ('seed', 0), ('batch_size', 1),
                            ('workers', 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f'{name} must be at least {least}, got {value}.')


def choose(available: int, options: DataOptions, hold_out: bool) -> tuple[list[int], list[int]]:
    """Draw the images of the pass and, apart from them, those of validation.

    Args:
        available: Images of the train set.
        options: How many of each; validation takes half of the train set at most.
        hold_out: Whether there are to be validation images at all.

    Returns:
        Indices of the pass and of validation, both in drawn order: parts of them are alike.
    """
    order = torch.randperm(available, generator=torch.Generator().manual_seed(options.seed)).tolist()
    held = min(options.val_images or available, available // 2) if hold_out else 0
    return order[held:][:options.images], order[:held]
