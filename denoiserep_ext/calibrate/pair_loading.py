"""Pairs of images as the host's own pipeline reads them."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..core.processes import process_share
from ..corruptions.names import Corruption
from .host import Host


class PairLoader:
    """Model-ready ``(clean, [worse, ...])`` batches of the images of a pass; re-iterable.

    In a process group every process has its share of the batches.

    Args:
        host: The images and their pipeline.
        corruptions: What makes them worse; none for the host's folder of worse images.
        seed: Seed of the corruptions.

    Attributes:
        worse: What the worse images are, in words.
    """

    def __init__(self, host: Host, corruptions: Sequence[Corruption], seed: int) -> None:
        self.host = host
        self.worse = tuple(map(str, corruptions)) or ('worse images', )
        self.views = _Views(host, [host.images, *host.worse_images(corruptions, seed)])

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
        batches = self.host.batches()[rank::processes]
        loader = DataLoader(self.views, batch_sampler=batches, collate_fn=self._collate,
                            num_workers=self.host.workers)
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

    def __init__(self, host: Host, datasets: Sequence[Dataset]) -> None:
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
        sizes = [self.host.size(sample) for sample in samples]
        odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
        if odd is None:
            return samples
        first, other = (self.host.file(self.datasets[i], index) for i in (0, odd))
        return ValueError(f'{first} leaves the pipeline with {_text(sizes[0])} px and {other} with '
                          f'{_text(sizes[odd])}: it resizes images by their own proportions. Bring the '
                          f'worse images to the size of the good ones before.')


def _text(size: Sequence[int]) -> str:
    return f'{size[1]} x {size[0]}'
