"""What calibration asks of a toolbox."""
from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..core.files.writing import parked, write_whole
from ..core.fit.embedding import Affine
from ..core.layer.fusion import unconvert_
from ..corruptions.names import Corruption
from .scores import Scores


class Host(ABC):
    """A trained model of some toolbox, its images and its evaluator.

    Attributes:
        model: The plain model with the checkpoint's weights, in evaluation mode.
        target: Dotted name of the part that is converted by default.
        layers: Selection that the config asks for, ``'auto'`` by default.
        images: Data set of the pass.
        order: Indices of its images in the order of the pass.
        batch_size, workers: Of the pass.
        classes: Number of classes that ``embed`` labels, 0 where there are none.
        judge: How outputs on clean and worse images are compared: ``'js'``, ``'cosine'`` or
            ``'feature'``.
        has_worse: Whether there is a folder of worse images.
        centres: Whether the mean of embeddings can be left out of them.
        new_classes: Whether the model is for other classes than those of the train set.
    """

    model: nn.Module
    target: str = 'backbone'
    layers: Any = 'auto'
    images: Dataset
    order: Sequence[int]
    batch_size: int
    workers: int
    classes: int = 0
    judge: str = 'feature'
    has_worse: bool = False
    centres: bool = True
    new_classes: bool = False
    collate: Callable[[list], Any]

    _plain: dict[str, Tensor] | None = None
    _digest: str | None = None
    _swapped: dict[str, nn.Module]
    _same_structure: set[str]  # swapped parts that the config builds all the same

    def batches(self) -> list[Sequence[int]]:
        """Indices of every batch of the whole pass."""
        return [self.order[i:i + self.batch_size] for i in range(0, len(self.order), self.batch_size)]

    def load(self, batches: Sequence[Sequence[int]]) -> DataLoader:
        """A loader of the given batches."""
        return DataLoader(self.images, batch_sampler=batches, collate_fn=self.collate,
                          num_workers=self.workers)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @abstractmethod
    def count(self, batch: Any) -> int:
        """Images in a batch."""

    @abstractmethod
    def forward(self, batch: Any) -> None:
        """Run the model as far as its converted layers reach."""

    def embed(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Final embeddings [n, d] and labels [n] of a batch, whose forward reaches the converted layers,
        too.

        Raises:
            ValueError: if the host or the images have no labels, or no embedding.
        """
        raise ValueError('within_class noise is of the final embedding of a classifier or a '
                         're-identification model and of labelled images; there are none here. Choose '
                         'unit or relative noise.')

    def fold_embedding(self, affine: Affine) -> str:
        """Put a map of the final embedding into the model, in place.

        Returns:
            What it costs, in words.
        """
        raise NotImplementedError

    # Pairs of clean and worse images

    def worse_images(self, corruptions: Sequence[Corruption], seed: int) -> list[Dataset]:
        """The images of the pass made worse, in the same order: one data set per corruption, or the
        folder of worse ones."""
        raise ValueError(f'{type(self).__name__} makes no images worse.')

    def file(self, dataset: Dataset, index: int) -> str:
        """The file of an image, for messages."""
        return f'image {index}'

    def size(self, sample: Any) -> Sequence[int]:
        """Height and width of an image as it leaves the pipeline."""
        raise NotImplementedError

    def ready(self, batch: Any) -> Any:
        """A batch as :meth:`outputs` takes it."""
        return batch

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """What the judge compares: run ``model`` on a batch, through all layers that are fitted."""
        raise NotImplementedError

    @property
    def selection(self) -> dict[str, Any]:
        """The selection, by part of the model."""
        if not isinstance(self.layers, Mapping):
            return {self.target: self.layers}
        return {'.'.join(filter(None, (self.target, part))): inner
                for part, inner in self.layers.items()}

    # Scores

    @abstractmethod
    def validate(self, corruption: Corruption | None = None) -> Scores:
        """Score the present model on validation images, clean or made worse."""

    @abstractmethod
    def test(self, corruption: Corruption | None = None) -> dict[str, float]:
        """Every metric of the present model on the test set, clean or made worse."""

    @property
    @abstractmethod
    def split(self) -> str:
        """In words: what validation and test images are."""

    @abstractmethod
    def checkpoint(self) -> dict[str, Any]:
        """The present model's checkpoint for the stock host."""

    @abstractmethod
    def write_config(self, path: Path) -> None:
        """Write the config that builds the present model in the stock host."""

    config_suffix: str  # of the file that write_config writes
    unit: str  # what validation scores apart

    def save(self, out: Path) -> list[Path]:
        """Write the present model, and the config that goes with it where its structure changed.

        Returns:
            The files, each there as a whole; none of them is there before all are written.
        """
        out.parent.mkdir(parents=True, exist_ok=True)
        if not self._swapped.keys() - self._same_structure:
            write_whole(self.checkpoint(), out)
            return [out]
        config = out.with_suffix(self.config_suffix)
        with parked(config) as partial:
            self.write_config(partial)
            write_whole(self.checkpoint(), out)
        return [out, config]

    def remember(self) -> None:
        """Note the present weights, to come back to by :meth:`restore`."""
        self._plain = {key: value.clone() for key, value in self.model.state_dict().items()}
        self._swapped, self._same_structure, self._digest = {}, set(), None

    def changes(self) -> dict[str, Tensor]:
        """What differs from the weights as they were loaded."""
        return {key: value.clone() for key, value in self.model.state_dict().items()
                if not torch.equal(value, self._plain[key])}

    def put(self, changes: Mapping[str, Tensor]) -> None:
        """Set some of the model's tensors. Not by ``load_state_dict``: a module may take them for a
        checkpoint, and miss the rest."""
        own = self.model.state_dict()
        for key, value in changes.items():
            own[key].copy_(value)

    def restore(self) -> None:
        """The model as it was loaded."""
        unconvert_(self.model)
        for name, module in self._swapped.items():
            self._put(name, module)
        self._swapped, self._same_structure = {}, set()
        self.model.load_state_dict(self._plain, strict=False)

    def swap(self, name: str, module: nn.Module) -> None:
        """Exchange a part of the model, until :meth:`restore`."""
        parent, _, child = name.rpartition('.')
        self._swapped.setdefault(name, getattr(self.model.get_submodule(parent), child))
        module.to(self.device).eval()
        self._put(name, module)

    def _put(self, name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition('.')
        setattr(self.model.get_submodule(parent), child, module)

    def fingerprint(self) -> str:
        """A digest of the model's weights as they were loaded: moments belong to them."""
        if self._digest is None:
            digest = hashlib.sha256()
            for key, value in sorted(self._plain.items()):
                digest.update(key.encode())
                digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            self._digest = digest.hexdigest()
        return self._digest
