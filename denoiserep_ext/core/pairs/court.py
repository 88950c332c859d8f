"""The judge's hearing: the present model on images that nothing is fitted on."""
from __future__ import annotations

import torch
from torch import Tensor

from . import judge
from .config import PairConfig
from .material import Material
from .replay import Replay, Run
from .report import Verdict
from .store import Store


class Court:
    """Hears a model on the judge's images. To be made while it is still the trained one.

    Every other image decides on the blocks, one after the other; the verdict on the whole is given on
    the rest, which nothing was chosen by.

    Args:
        replay: Runs the model.
        material: The images.
        store: Keeps what the trained model gives for the clean ones.
        config: Settings.

    Attributes:
        first: The opinion of the trained model.
        present: The last one that was accepted.
    """

    def __init__(self, replay: Replay, material: Material, store: Store, config: PairConfig) -> None:
        self.replay, self.material, self.store = replay, material, store
        self.shares, self.kind = config.shares, config.judge
        with replay.at(0):
            for item in material.items(judged=True):
                output = replay.run(Run(item.number, 0))
                self.kind = judge.resolve(self.kind, output)
                store.put(('judge', item.number), output)
        self.first = self.present = self._hear(0)

    def accepts(self, finished: int) -> bool:
        """Whether the present model, of which ``finished`` parts are done, is nearer to the trained one
        on clean images than the last that was accepted; it then takes that one's place."""
        heard = self._hear(finished)
        better, _ = judge.gain(*(opinion.weigh(self.shares)[::2] for opinion in (self.present, heard)))
        if better > 0:
            self.present = heard
        return better > 0

    def verdict(self) -> Verdict:
        """On the whole: a gain of more than its standard error, or none."""
        before, after = (opinion.of_images(slice(1, None, 2)) for opinion in (self.first, self.present))
        images = before.values.shape[1]
        better, error = judge.gain(before.weigh(self.shares), after.weigh(self.shares))
        return Verdict(self.kind, images, *(_means(part) for part in (
            before.values, after.values, before.same, after.same)), better, error,
            better > error * judge.MARGIN)

    def _hear(self, finished: int) -> judge.Opinion:
        values, same = [], []
        with self.replay.at(finished):
            for item in self.material.items(judged=True):
                target = self.store.get(('judge', item.number))
                outputs = [self.replay.run(Run(item.number, stream))
                           for stream in range(1, self.material.streams + 1)]
                values.append(torch.stack([judge.distances(self.kind, output, target, item.images)
                                           for output in outputs]))
                if self.kind == 'js':
                    same.append(torch.stack([judge.agreement(output, target) for output in outputs]))
        opinion = judge.Opinion.of_all(values, same)
        if not opinion.values.isfinite().all():
            raise FloatingPointError("The model's outputs are not finite (NaN or infinity) for some of "
                                     "the judge's images. Check the model and the images.")
        return opinion


def _means(values: Tensor | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values.mean(1).tolist())
