"""The figures of the pictures: a small network on scikit-learn's digits, as trained and denoised.

    python -m docs.pictures.measure        # about 20 seconds; then: python -m docs.pictures

It is fitted to Gaussian noise, contrast and JPEG at severity 3, on train images without their labels. It
is scored on the test images of ``python -m denoiserep_ext digits``, clean and at five severities of
these and of two more.
"""
from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from denoiserep_ext import denoise_pairs_
from denoiserep_ext.core.files.writing import write_json
from denoiserep_ext.corruptions.images import corrupt
from denoiserep_ext.corruptions.names import Corruption
from denoiserep_ext.datasets.digits import split_digits
from denoiserep_ext.robustness.cells import Checkpoint
from denoiserep_ext.robustness.report import figures
from denoiserep_ext.robustness.run import Plan, Results

OUT = Path(__file__).parent / 'figures'
FITTED = [Corruption(name, 3) for name in ('gaussian_noise', 'contrast', 'jpeg_compression')]
OTHERS = ('impulse_noise', 'pixelate')
METRIC = 'accuracy in %'


def main() -> None:
    parts = {part: digits(part) for part in ('train', 'test')}
    plain = trained(*parts['train'])
    denoised = copy.deepcopy(plain)
    report = denoise_pairs_(denoised, map(pair, parts['train'][0].split(128)))
    print(report)
    layers = tuple(replace(layer, ridge=None) for layer in report.layers)  # some are infinite
    write_json({'worse': list(map(str, FITTED)), **replace(report, layers=layers).as_dict()},
               OUT / 'noise_by_depth.json')
    results = scored({'plain': plain, 'denoised': denoised}, *parts['test'])
    write_json(figures(results), OUT / 'robustness.json')


def digits(part: str) -> tuple[Tensor, Tensor]:
    """Images, uint8 [n, 1, 8, 8], and labels [n]."""
    images, labels = zip(*((image, label) for split, label, _, image in split_digits() if split == part))
    return torch.from_numpy(np.stack(images))[:, None], torch.tensor(labels)


def as_input(images: Tensor) -> Tensor:
    return images.float() / 255


def worse(images: Tensor, corruption: Corruption) -> Tensor:
    return torch.stack([torch.from_numpy(corrupt(image[0].numpy(), corruption.name, corruption.severity))
                        for image in images])[:, None]


def pair(images: Tensor) -> tuple[Tensor, list[Tensor]]:
    return as_input(images), [as_input(worse(images, corruption)) for corruption in FITTED]


def trained(images: Tensor, labels: Tensor, epochs: int = 15) -> nn.Module:
    """Six convs with BatchNorm, trained on clean images."""
    torch.manual_seed(0)
    widths = (1, 24, 24, 24, 48, 48, 48)
    layers: dict[str, nn.Module] = {}
    for depth, (width, out) in enumerate(zip(widths, widths[1:]), start=1):
        stride = 2 if depth == 4 else 1
        layers[f'conv{depth}'] = nn.Conv2d(width, out, 3, stride, padding=1, bias=False)
        layers[f'norm{depth}'] = nn.BatchNorm2d(out)
        layers[f'relu{depth}'] = nn.ReLU()
    model = nn.Sequential(OrderedDict(layers, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(),
                                      linear=nn.Linear(widths[-1], 10)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(model(as_input(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def scored(models: dict[str, nn.Module], images: Tensor, labels: Tensor) -> Results:
    """Accuracy of every model, clean and at every severity."""
    plan = Plan([corruption.name for corruption in FITTED] + list(OTHERS))
    cells: dict[str, dict] = {name: {} for name in models}
    for corruption in plan.cells:
        shown = as_input(images if corruption is None else worse(images, corruption))
        key = ('clean', 0) if corruption is None else (corruption.name, corruption.severity)
        for name, model in models.items():
            right = (model(shown).argmax(1) == labels).float().mean()
            cells[name][key] = {METRIC: 100 * right.item()}
    return Results(plan, [Checkpoint(name, Path(name), '') for name in models], METRIC,
                   f'{len(images)} test images', cells)


if __name__ == '__main__':
    main()
