"""CIFAR-10 ResNet-20 denoised with three kinds of noise: accuracy, and retrieval by its pooled features.

Moments come from a part of the train images, strengths are chosen on the rest of them, and both are
scored on the test images. Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.resnet20_noises
"""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset, default_collate

from denoiserep_ext.calibrate.host import Host
from denoiserep_ext.calibrate.images import DataOptions, choose
from denoiserep_ext.calibrate.scores import Scores
from denoiserep_ext.core.fit.embedding import Affine
from tests.measure.cifar import load_images, load_resnet20
from tests.measure.noises import measure

PARTS = 10


class Cifar(Host):
    """The model and its images.

    Args:
        data: Folder of real test data.
        metric: ``'accuracy'`` or ``'mAP'`` of retrieval, cosine, each image against all others.
    """

    config_suffix, unit, target, classes = '.txt', 'parts', '', 10

    def __init__(self, data: Path, metric: str) -> None:
        self.model, self.metric = load_resnet20(data), metric
        self.centres = metric == 'mAP'
        x, y = load_images(data, 'train')
        self.images = TensorDataset(x, y)
        self.order, held = choose(len(x), DataOptions(images=None, val_images=2000), True)
        self.val, self.test_images = (x[held], y[held]), load_images(data, 'test')
        self.batch_size, self.workers, self.collate = 256, 0, default_collate
        self.remember()

    split = '2000 train images kept out of the pass'

    def count(self, batch):
        return len(batch[0])

    def forward(self, batch):
        self.model(batch[0])

    def embed(self, batch):
        return self.model.embed(batch[0]), batch[1]

    def fold_embedding(self, affine: Affine) -> str:
        if self.metric == 'accuracy':
            for tensor, value in zip(self.model.linear.parameters(), affine.before_linear(
                    *(p.detach() for p in self.model.linear.parameters()))):
                tensor.data.copy_(value)
            return 'folded into the classifier: no cost'
        layer = nn.Linear(64, 64)
        layer.weight.data.copy_(affine.weight)
        layer.bias.data.copy_(affine.offset)
        self.swap('embedding', layer)
        return 'one product of 64 x 64 per image (after ReLU and pooling)'

    @torch.no_grad()
    def _values(self, x: Tensor, y: Tensor) -> np.ndarray:
        """Right or wrong, or average precision, of every image, 0 or 100."""
        if self.metric == 'accuracy':
            guesses = torch.cat([self.model(batch).argmax(1) for batch in x.split(256)])
            return 100.0 * (guesses == y).numpy()
        features = F.normalize(torch.cat([self.model.embed(batch) for batch in x.split(256)]))
        likeness = features @ features.T
        likeness.fill_diagonal_(-2)
        hits = (y[likeness.argsort(1, descending=True)[:, :-1]] == y[:, None]).double()
        ranks = torch.arange(1, hits.shape[1] + 1)
        return 100 * ((hits.cumsum(1) / ranks * hits).sum(1) / hits.sum(1)).numpy()

    def validate(self, corruption=None) -> Scores:
        values = self._values(*self.val)
        units = np.array([part.mean() for part in np.array_split(values, PARTS)])
        return Scores(self.metric, float(values.mean()), units, {self.metric: float(values.mean())})

    def test(self, corruption=None) -> dict[str, float]:
        return {self.metric: float(self._values(*self.test_images).mean())}

    def checkpoint(self):
        raise NotImplementedError('nothing is written here')

    def write_config(self, path):
        raise NotImplementedError('nothing is written here')


if __name__ == '__main__':
    for metric in ('accuracy', 'mAP'):
        print(f'\n== {metric}')
        measure(Cifar(Path(os.environ['DENOISEREP_TEST_DATA']), metric))
