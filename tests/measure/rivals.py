"""What else helps a trained model on worse images: other methods, on the same images."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoiserep_ext.core.fit import norms
from tests.measure.bench import Sample
from tests.measure.cifar import ResNet20

EPOCHS, BATCH = 20, 64


def adapt_norms_(model: nn.Module, sample: Sample) -> None:
    """Statistics of BatchNorm taken from the worse images, all in one batch."""
    norms.adapt_norms_(model, [torch.cat(sample.worse)])


@torch.no_grad()
def shift_features_(model: ResNet20, sample: Sample) -> None:
    """The shift of the mean of the last features taken out before the classifier (as NEO does)."""
    clean, worse = (model.embed(images).mean(0) for images in (sample.clean, torch.cat(sample.worse)))
    model.linear.bias -= model.linear.weight @ (worse - clean)


def distil_(model: nn.Module, sample: Sample, rate: float, seed: int) -> None:
    """Training without labels: both views of an image towards the trained model's classes for the
    clean one (the cross-entropy with them is the KL divergence and a constant)."""
    with torch.no_grad():
        targets = model(sample.clean).softmax(1)
    train_(model, sample, targets, rate, seed)


def fine_tune_(model: nn.Module, sample: Sample, rate: float, seed: int) -> None:
    """Training with labels, of both views."""
    train_(model, sample, sample.labels, rate, seed)


def train_(model: nn.Module, sample: Sample, targets: Tensor, rate: float, seed: int) -> None:
    """Adam, 20 epochs in batches of 64 images, each clean and worse, flipped at random, the learning
    rate falling to zero along a cosine; BatchNorm in training mode."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    model.train()
    for _ in range(EPOCHS):
        for own in torch.randperm(len(targets), generator=generator).split(BATCH):
            flip = (torch.rand(len(own), 1, 1, 1, generator=generator) < 0.5).to(targets.device)
            views = [torch.where(flip, view[own].flip(3), view[own])
                     for view in (sample.clean, *sample.worse)]
            loss = F.cross_entropy(model(torch.cat(views)), targets[own].repeat(len(views), *[1] * (
                targets.dim() - 1)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    model.eval()
