"""Which positions of a layer are drawn, and what it reads and gives there."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layer.layer_types import layer_type_of, offset_allowed


class Positions:
    """A layer's inputs and outputs at some of its output positions.

    Args:
        layer: A layer whose type is known.
        pointwise: Look at the channels of input positions instead of the patches that the layer
            reads.
    """

    def __init__(self, layer: nn.Module, pointwise: bool = False) -> None:
        self.layer, self.pointwise = layer, pointwise
        self.type = layer_type_of(type(layer))
        self.groups = layer.groups if self.type.spatial else 1

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Groups, numbers read per group, numbers given per group."""
        weight = self.layer.weight
        if self.pointwise:
            return self.groups, weight.shape[1], weight.shape[1]
        return self.groups, weight[0].numel(), weight.shape[0] // self.groups

    @property
    def shiftable(self) -> bool:
        """Whether what is fitted can have a shift, if there is a place for it. A shift of the channels
        does not commute with padding by zeros."""
        return not self.pointwise or offset_allowed(self.layer, self.type)

    def vectors(self, y: Tensor, rows: Tensor) -> Tensor:
        """Channel vectors [n, C] of an input or output at the given places of it."""
        y = torch.atleast_2d(y.movedim(self.type.channel_dim, -1))
        return y[torch.unravel_index(rows, y.shape[:-1])]

    def count(self, y: Tensor) -> int:
        """Places in an input or output."""
        return y.numel() // y.shape[self.type.channel_dim]

    def reads(self, x: Tensor, output: Tensor, rows: Tensor) -> Tensor:
        """What the layer reads [n, G, d] for the outputs at ``rows``."""
        if self.pointwise or not self.type.spatial:
            return self.vectors(x, rows).reshape(len(rows), self.groups, -1)
        return self._patches(x, output, rows)

    def _patches(self, x: Tensor, output: Tensor, rows: Tensor) -> Tensor:
        layer = self.layer
        if x.dim() == 3:
            x, output = x.unsqueeze(0), output.unsqueeze(0)
        image, y, z = torch.unravel_index(rows, (len(x), *output.shape[-2:]))
        pads = self.type.pads(layer, x.shape[-2:])  # left, right, top, bottom
        up = _sources(x.shape[-2], pads[2:], layer.padding_mode, x.device)
        across = _sources(x.shape[-1], pads[:2], layer.padding_mode, x.device)
        (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.stride, layer.dilation
        i = up[(y * sh).unsqueeze(1) + dh * torch.arange(kh, device=x.device)]
        j = across[(z * sw).unsqueeze(1) + dw * torch.arange(kw, device=x.device)]
        outside = (i < 0).unsqueeze(2) | (j < 0).unsqueeze(1)  # [n, kh, kw]
        patches = x[image.view(-1, 1, 1), :, i.clamp_min(0).unsqueeze(2), j.clamp_min(0).unsqueeze(1)]
        if outside.any():
            patches = patches.masked_fill(outside.unsqueeze(-1), 0)
        return patches.permute(0, 3, 1, 2).reshape(len(rows), self.groups, -1)


def _sources(size: int, pads, mode: str, device: torch.device) -> Tensor:
    """Where every place of the padded axis takes its value from; -1 is a zero."""
    places = torch.arange(size, device=device)
    before, after = pads
    if mode == 'zeros':
        return F.pad(places, (before, after), value=-1)
    return F.pad(places.view(1, 1, -1).double(), (before, after), mode=mode).view(-1).long()


def draw_rows(count: int, images: int, wanted: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw places, the same number from every image, without replacement.

    Args:
        count: Places in all.
        images: Images they belong to. Where places do not fall evenly on images, all are drawn from
            alike.
        wanted: Places per image.
        generator: On the CPU.

    Returns:
        Places [n], and the number of the image that each is of [n].
    """
    parts = images if count % images == 0 else 1
    each, wanted = count // parts, wanted * images // parts
    if each <= wanted:
        rows = torch.arange(each).expand(parts, each)
    else:
        rows = torch.rand(parts, each, generator=generator).topk(wanted).indices
    image = torch.arange(parts).unsqueeze(1).expand_as(rows)
    return (rows + each * image).flatten(), image.flatten()
