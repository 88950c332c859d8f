"""The one pass over the images: what it collects, how it is shared, saved and merged."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..core.files.reading import read_checkpoint
from ..core.files.writing import write_whole
from ..core.fit.embedding import ClassMoments
from ..core.fit.moments import Moments
from ..core.fit.one_pass import collect_moments, convert_to_fold_
from ..core.layer.config import DenoiseRepConfig
from ..core.layer.fusion import unconvert_
from ..core.layer.layers import denoise_layers
from ..core.layer.selection import find_part
from ..core.processes import from_all, process_share
from .host import Host

KIND = 'denoiserep_ext moments'


@dataclass
class PassMoments:
    """What a pass has seen.

    Attributes:
        layers: Moments of the inputs of the selected layers, by name; empty if not asked for.
        embedding: Of labelled final embeddings, or None.
        images: How many images.
        model: Digest of the weights they belong to.
    """

    layers: dict[str, Moments]
    embedding: ClassMoments | None
    images: int
    model: str

    @property
    def bytes(self) -> int:
        """Memory they take."""
        numbers = sum(moments.numel for moments in self.layers.values())
        if self.embedding is not None:
            numbers += self.embedding.all.numel + self.embedding.sums.numel()
        return 8 * numbers

    def merge_(self, other: PassMoments) -> PassMoments:
        """Add those of other images.

        Raises:
            ValueError: if they are of another model or selection.
        """
        if other.model != self.model:
            raise ValueError('The moments to merge were taken from models of different weights.')
        if other.layers.keys() != self.layers.keys() or (
                (other.embedding is None) != (self.embedding is None)):
            raise ValueError('The moments to merge are of different layers or noises: take all with the '
                             'same options.')
        for name, moments in other.layers.items():
            self.layers[name].merge_(moments)
        if self.embedding is not None:
            self.embedding.merge_(other.embedding)
        self.images += other.images
        return self

    def save(self, path: Path) -> None:
        """Write them, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole({'kind': KIND, 'images': self.images, 'model': self.model,
                     'layers': {name: m.state_dict() for name, m in self.layers.items()},
                     'shapes': {name: list(m.shape) for name, m in self.layers.items()},
                     'embedding': None if self.embedding is None else self.embedding.state_dict()}, path)

    @classmethod
    def read(cls, path: Path) -> PassMoments:
        """Moments from a file of :meth:`save`.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is something else.
        """
        data = read_checkpoint(path)
        if data.get('kind') != KIND:
            raise ValueError(f'{path} holds no moments: give a file written with --save-moments.')
        layers = {}
        for name, state in data['layers'].items():
            layers[name] = Moments(*data['shapes'][name])
            layers[name].load_state_dict(state)
        embedding = data['embedding']
        return cls(layers, None if embedding is None else ClassMoments.from_state_dict(embedding),
                   data['images'], data['model'])


def run_pass(host: Host, selection: Any, embedding: bool, tokens: int | None, seed: int,
             share: tuple[int, int] = (0, 1)) -> PassMoments:
    """Send the images through the model, as it was loaded, once.

    In a process group the processes share the pass and each gets the whole sum.

    Args:
        host: The model and its images.
        selection: Layers to observe; None for none.
        embedding: Whether to observe labelled embeddings.
        tokens: Feature vectors per image and layer; None for all.
        seed: Seed of their choice.
        share: ``(index, of)`` of this machine among those that share the pass.

    Raises:
        ValueError: if nothing is selected, or the images are fewer than the processes.
    """
    host.restore()
    index, of = share
    rank, processes = process_share()
    index, of = index * processes + rank, of * processes
    batches = host.batches()
    own = batches[index::of]
    if len(batches) < of:
        raise ValueError(f'{len(host.order)} images make {len(batches)} batches, too few for {of} '
                         f'processes: use more images or a smaller batch size.')
    probe = host.collate([host.images[i] for i in batches[0]]) if index else None
    collector = _EmbeddingCollector(host, probe) if embedding else None
    run = collector or (lambda _, batch: host.forward(batch))
    loader = tqdm(host.load(own), desc='one pass', unit='batch', disable=index > 0)
    with torch.no_grad():
        if selection is None:
            for batch in loader:
                run(host.model, batch)
            layers = {}
        else:
            layers = _observe_layers(host, selection, seed, loader, tokens, run, (index, of), probe)
    for name in layers:
        layers[name] = layers[name].reduced()
    seen = sum(from_all(sum(map(len, own))))
    return PassMoments(layers, collector.moments.reduced() if embedding else None, seen,
                       host.fingerprint())


def _observe_layers(host: Host, selection: Any, seed: int, loader, tokens: int | None, run,
                    share: tuple[int, int], probe: Any) -> dict[str, Moments]:
    convert_to_fold_(find_part(host.model, host.target), DenoiseRepConfig(layers=selection, seed=seed))
    numbers = sum(Moments.size(layer.denoiser.groups, layer.denoiser.channels)
                  for _, layer in denoise_layers(host.model))
    tqdm.write(f'moments of {sum(1 for _ in denoise_layers(host.model))} layers: '
               f'{numbers * 8 / 1e6:.0f} MB')
    try:
        return collect_moments(host.model, loader, tokens, run, host.count, share, probe)
    finally:
        unconvert_(host.model)


class _EmbeddingCollector:
    """A forward that notes labelled embeddings on its way."""

    def __init__(self, host: Host, probe: Any) -> None:
        self.host, self.probe = host, probe
        self.moments: ClassMoments | None = None

    def __call__(self, _model, batch: Any) -> None:
        features, labels = self.host.embed(batch)
        if self.moments is None:
            self.moments = ClassMoments(self.host.classes, features.shape[1], features.device)
        if batch is not self.probe:
            self.moments.update(features, labels)
