"""MobileNetV2 and EfficientNet-B0 of MMPretrain, trained on the part of CIFAR-10."""
from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.measure.bench import Bench
from tests.measure.cifar import load_images

BACKBONES = {'mobilenet-v2': (dict(type='MobileNetV2', widen_factor=1.0), 1280),
             'efficientnet-b0': (dict(type='EfficientNet', arch='b0'), 1280)}
EPOCHS, BATCH, RATE = 60, 128, 2e-3


class MobileBench(Bench):
    """The bench of :class:`Bench` with another trained model.

    Args:
        weights: File of its weights; it is trained and written where there is none.
        name: Key of ``BACKBONES``.
        epochs: Of training.
        data, limit, device: See :class:`Bench`.
    """

    def __init__(self, weights: Path, name: str, data: Path, limit: int | None = None,
                 device: str = 'cpu', epochs: int = EPOCHS) -> None:
        super().__init__(data, limit=limit, device=device)
        self.weights, self.name = weights, name
        if not weights.is_file():
            model = train(build(name).to(device), *load_images(data, 'train'), epochs)
            torch.save(model.state_dict(), weights)

    def model(self) -> nn.Module:
        model = build(self.name)
        model.load_state_dict(torch.load(self.weights, map_location='cpu', weights_only=True))
        return model.to(self.device).eval()


def build(name: str) -> nn.Module:
    """The classifier behind an enlargement to 64 x 64 pixels, below which these networks, made for 224,
    have no map left. Takes images [N, 3, 32, 32], gives class scores [N, 10]."""
    from mmengine.registry import init_default_scope
    from mmpretrain.models import build_classifier
    init_default_scope('mmpretrain')
    backbone, width = BACKBONES[name]
    model = build_classifier(dict(
        type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=width)))
    return nn.Sequential(nn.Upsample(scale_factor=2, mode='bilinear'), model)


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int = 0) -> nn.Module:
    """AdamW with labels, one cycle of the learning rate; images flipped and shifted at random."""
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05)
    steps = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, epochs * steps)
    model.train()
    for epoch in range(epochs):
        for own in torch.randperm(len(images), generator=generator).split(BATCH):
            flip = torch.rand(len(own), 1, 1, 1, generator=generator) < 0.5
            batch = torch.where(flip, images[own].flip(3), images[own])
            left, top = torch.randint(0, 9, (2, ), generator=generator).tolist()
            batch = F.pad(batch, (4, 4, 4, 4))[..., top:top + 32, left:left + 32]
            loss = F.cross_entropy(model(batch.to(device)), labels[own].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if epoch % 10 == 9:
            print(f'training: epoch {epoch + 1} of {epochs}, loss {loss.item():.3f}', flush=True)
    return model.eval()
