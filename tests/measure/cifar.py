"""ResNet-20 and images of CIFAR-10 from the folder of real test data."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BasicBlock(nn.Module):
    """Two convs; where the width grows, the shortcut skips pixels and pads channels with zeros."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        shortcut = F.pad(x[..., ::self.stride, ::self.stride], (0, 0, 0, 0, self.extra, self.extra))
        return (y + shortcut).relu()


class ResNet20(nn.Module):
    """He et al. 2016, section 4.2: three stages of three blocks, 16 to 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for stage in (1, 2, 3):
            blocks = [BasicBlock(widths[stage - 1], widths[stage])]
            blocks += [BasicBlock(widths[stage], widths[stage]) for _ in range(2)]
            setattr(self, f'layer{stage}', nn.Sequential(*blocks))
        self.embedding = nn.Identity()  # where a map of the pooled features can stand
        self.linear = nn.Linear(64, 10)

    def embed(self, x: Tensor) -> Tensor:
        """Pooled features [N, 64]."""
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.embedding(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.embed(x))


def load_resnet20(data: Path) -> ResNet20:
    """The trained model, in evaluation mode."""
    # A pickle from a known origin, hence weights_only=False.
    file = torch.load(data / 'cifar10_subset/resnet20-12fca82f.th', map_location='cpu',
                      weights_only=False)
    model = ResNet20()
    model.load_state_dict({k.removeprefix('module.'): v for k, v in file['state_dict'].items()})
    return model.eval()


def load_pixels(data: Path, split: str) -> tuple[np.ndarray, Tensor]:
    """Images as a camera gives them, uint8 [N, 32, 32, 3], and labels [N]."""
    file = np.load(data / f'cifar10_subset/{split}.npz')
    return file['x'].transpose(0, 2, 3, 1), torch.from_numpy(file['y']).long()


def normalise(pixels: np.ndarray) -> Tensor:
    """What the model reads [N, 3, 32, 32]."""
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (images - mean) / std


def load_images(data: Path, split: str) -> tuple[Tensor, Tensor]:
    """Normalised images [N, 3, 32, 32] and labels [N]."""
    pixels, labels = load_pixels(data, split)
    return normalise(pixels), labels


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    guesses = torch.cat([model(batch).argmax(1) for batch in images.split(256)])
    return (guesses == labels).float().mean().item()
