"""Pairs of images as a host's own pipeline reads them."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..core.processes import process_share
from ..corruptions.names import Corruption


class Images(Protocol):
    """Images of a host.

    Attributes:
        images: The data set, read as in testing.
        order: Indices of those that are used, in drawn order.
        batch_size, workers: Of the passes.
        collate: Makes a batch of samples.
    """

    images: Dataset
    order: Sequence[int]
    batch_size: int
    workers: int
    collate: Callable[[list], Any]

    def worse_images(self, corruptions: Sequence[Corruption], seed: int) -> list[Dataset]:
        """The data set made worse, in the same order, once per corruption."""

    def file(self, dataset: Dataset, index: int) -> str:
        """The file of an image, for messages."""

    def size(self, sample: Any) -> Sequence[int]:
        """Height and width of an image as it leaves the pipeline."""

    def ready(self, batch: Any) -> Any:
        """A batch as the model takes it."""


def draw(available: int, images: int | None, seed: int) -> list[int]:
    """Indices of the images that are used, in drawn order."""
    order = torch.randperm(available, generator=torch.Generator().manual_seed(seed))
    return order[:images].tolist()


class PairLoader:
    """Model-ready ``(clean, [worse, ...])`` batches; re-iterable.

    In a process group every process has its share of the batches.

    Args:
        host: The images and their pipeline.
        corruptions: What makes them worse; none where the host has worse images of its own.
        seed: Seed of the corruptions.

    Attributes:
        worse: What the worse images are, in words.

    Raises:
        ValueError: if there are not as many worse images as clean ones.
    """

    def __init__(self, host: Images, corruptions: Sequence[Corruption], seed: int) -> None:
        self.host = host
        self.worse = tuple(map(str, corruptions)) or ('worse images', )
        order, size = host.order, host.batch_size
        self.batches = [order[i:i + size] for i in range(0, len(order), size)]
        self.views = _Views(host, [host.images, *host.worse_images(corruptions, seed)])

    def check(self, held_out: float, processes: int | None = None) -> None:
        """See that every process has images to fit on and the judge some of them, and read one.

        Args:
            held_out: Share of the images that the judge keeps.
            processes: How many will share the images; those of the present group if None.

        Raises:
            ValueError: if there are too few images, or the first cannot be read or made worse.
            ImportError: without the library of corruptions.
        """
        processes = processes or process_share()[1]
        fewest = min(sum(map(len, self.batches[rank::processes])) for rank in range(processes))
        least = math.ceil(1 / held_out) if held_out else 1
        if fewest < least:  # the same on all: one that stopped alone would keep the others waiting
            judge = f', of whose images a judge keeps {held_out:g}' if held_out else ''
            raise ValueError(
                f'{len(self.host.order)} images in batches of {self.host.batch_size} are too few for '
                f'{processes} {"processes" if processes > 1 else "process"}{judge}: every one needs '
                f'{least} at least. Give more images, smaller test batches, fewer processes, or '
                f'held_out 0.')
        self.probe()

    def probe(self) -> None:
        """Read one image.

        Raises:
            ValueError: if it cannot be read or made worse.
            ImportError: without the library of corruptions.
        """
        first = self.views[self.host.order[0]]
        if isinstance(first, Exception):
            raise first

    def __iter__(self) -> Iterator[tuple[Any, list[Any]]]:
        rank, processes = process_share()
        loader = DataLoader(self.views, batch_sampler=self.batches[rank::processes],
                            collate_fn=self._collate, num_workers=self.host.workers)
        for views in tqdm(loader, desc='reading images', unit='batch', leave=False, disable=rank > 0):
            if isinstance(views, Exception):
                raise views
            clean, *worse = map(self.host.ready, views)
            yield clean, worse

    def _collate(self, samples: list) -> Any:
        failed = next((sample for sample in samples if isinstance(sample, Exception)), None)
        return failed or [self.host.collate(list(view)) for view in zip(*samples)]


class _Views(Dataset):
    """Every image in all its versions. What goes wrong is given instead of them: raised in a loading
    process, it would come with that process's traceback."""

    def __init__(self, host: Images, datasets: Sequence[Dataset]) -> None:
        self.host, self.datasets = host, datasets
        sizes = {len(dataset) for dataset in datasets}
        if len(sizes) > 1:
            raise ValueError(f'There are not as many worse images as clean ones: {sorted(sizes)}.')

    def __len__(self) -> int:
        return len(self.datasets[0])

    def __getitem__(self, index: int) -> list[Any] | Exception:
        samples = []
        for dataset in self.datasets:
            try:
                samples.append(dataset[index])
            except ImportError as error:
                return error
            except Exception as error:  # whatever a toolbox's readers and transforms raise
                file, words = self.host.file(dataset, index), str(error) or type(error).__name__
                return ValueError(words if file in words else f'{file}: {words}')
        return self._of_one_size(index, samples)

    def _of_one_size(self, index: int, samples: list[Any]) -> list[Any] | Exception:
        sizes = [tuple(self.host.size(sample)) for sample in samples]
        odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
        if odd is None:
            return samples
        first, other = (self.host.file(self.datasets[i], index) for i in (0, odd))
        return ValueError(
            f'{first} leaves the pipeline with {_text(sizes[0])} px and {other} with '
            f'{_text(sizes[odd])}. Bring the worse images of a folder to the size of the good ones '
            f'before. With corruptions, keep what crops or scales by the content of an image out of '
            f'the test pipeline.')


def _text(size: Sequence[int]) -> str:
    return f'{size[1]} x {size[0]}'
