"""Backbones that FastReID lacks: TransReID-SSL's ViT-S and ViT-B, Swin-T and VMamba."""
from __future__ import annotations

import logging

import torch
from fastreid.config import CfgNode
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.backbones.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..core.files.reading import read_checkpoint
from ..models.vmamba import VMamba
from .transreid import ARCHITECTURES, convert_state

logger = logging.getLogger('fastreid.denoiserep')


class InstanceBatchNorm(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the rest
    (IBN-a; Pan et al., ECCV 2018).

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised features, shape of ``x`` [B, C, H, W]."""
        return torch.cat([self.IN(x[:, :self.half]), self.BN(x[:, self.half:])], dim=1)


class ConvStemEmbed(nn.Module):
    """Patch embedding of the ICS models of TransReID-SSL: three convolutions at half resolution
    stand before the projection of patches (Luo et al., arXiv 2111.12084).

    Args:
        size: Height and width of the images.
        patch: Side of a patch in pixels; patches do not overlap.
        embed_dim: Channels of a token.
        width: Channels of the convolutions.
    """

    def __init__(self, size: tuple[int, int], patch: int, embed_dim: int, width: int = 64) -> None:
        super().__init__()
        self.size = tuple(size)
        self.num_y, self.num_x = size[0] // patch, size[1] // patch
        self.num_patches = self.num_y * self.num_x
        self.conv = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), InstanceBatchNorm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False), InstanceBatchNorm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(inplace=True))
        self.proj = nn.Conv2d(width, embed_dim, patch // 2, stride=patch // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, num_patches, embed_dim] of images [B, 3, H, W]."""
        if tuple(x.shape[2:]) != self.size:
            raise ValueError(f'Images of {tuple(x.shape[2:])}, and the model is for {self.size}: set '
                             f'INPUT.SIZE_TRAIN and INPUT.SIZE_TEST alike.')
        return self.proj(self.conv(x)).flatten(2).transpose(1, 2)


class TransReID(VisionTransformer):
    """FastReID's ViT, whose feature is a copy of the class token instead of a view into all tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, embed_dim, 1, 1] of images [B, 3, H, W]."""
        return super().forward(x).contiguous()


@BACKBONE_REGISTRY.register()
def build_transreid_vit_backbone(cfg: CfgNode) -> nn.Module:
    """FastReID's ViT in the sizes of TransReID-SSL.

    ``MODEL.BACKBONE.DEPTH``: ``small`` (384 channels, 6 heads), ``base`` (768, 12), ``small_ics`` or
    ``base_ics`` with the convolutional stem. ``PRETRAIN_PATH`` takes a file of TransReID-SSL as it is
    published; every tensor of it is accounted for. ``PRETRAIN_UNSAFE`` allows one that can run code;
    only for files you trust.

    Raises:
        ValueError: for another ``DEPTH``, or a checkpoint that does not fit.
    """
    node = cfg.MODEL.BACKBONE
    model = transreid_vit(
        str(node.DEPTH), tuple(cfg.INPUT.SIZE_TRAIN), stride_size=tuple(node.STRIDE_SIZE),
        drop_path_rate=node.DROP_PATH_RATIO, drop_rate=node.DROP_RATIO,
        attn_drop_rate=node.ATT_DROP_RATE)
    if node.PRETRAIN:
        grid = model.patch_embed.num_y, model.patch_embed.num_x
        converted = convert_state(read_pretrained(node, 'a file of TransReID-SSL'), model.state_dict(),
                                  grid)
        model.load_state_dict(converted.state, strict=True)
        logger.info('%s: %s', node.PRETRAIN_PATH, converted)
    return model


def transreid_vit(depth: str, size: tuple[int, int], stride_size: tuple[int, int] = (16, 16),
                  **rates: float) -> TransReID:
    """A ViT of TransReID-SSL.

    Args:
        depth: ``small``, ``base``, ``small_ics`` or ``base_ics``.
        size: Height and width of the images.
        stride_size: Of the patches of 16 pixels; smaller ones overlap.
        **rates: Dropout rates of FastReID's ``VisionTransformer``.

    Raises:
        ValueError: for another depth, or overlapping patches behind a stem.
    """
    name, _, stem = depth.partition('_')
    if name not in ARCHITECTURES or stem not in ('', 'ics'):
        raise ValueError(f'MODEL.BACKBONE.DEPTH {depth!r}: choose one of '
                         f'{", ".join(f"{n}{s}" for n in ARCHITECTURES for s in ("", "_ics"))}.')
    model = TransReID(img_size=size, stride_size=stride_size, mlp_ratio=4, qkv_bias=True,
                      **ARCHITECTURES[name], **rates)
    if stem:
        if stride_size != (16, 16):
            raise ValueError('The ICS stem has patches side by side: MODEL.BACKBONE.STRIDE_SIZE must '
                             f'be (16, 16), got {stride_size}.')
        model.patch_embed = ConvStemEmbed(size, 16, model.embed_dim)
    return model


def read_pretrained(node: CfgNode, what: str) -> dict:
    """The file of ``PRETRAIN_PATH``; tensors and plain data only, unless ``PRETRAIN_UNSAFE``.

    Args:
        node: ``MODEL.BACKBONE``.
        what: What the file should be, for the message.

    Raises:
        ValueError: if no path is given, or the file is damaged or holds code.
        FileNotFoundError: if there is no such file.
    """
    return read_checkpoint(_pretrain_path(node, what), _unsafe(node))


def _pretrain_path(node: CfgNode, what: str) -> str:
    if not node.PRETRAIN_PATH:
        raise ValueError(f'MODEL.BACKBONE.PRETRAIN needs MODEL.BACKBONE.PRETRAIN_PATH, {what} (see '
                         f'README), or set PRETRAIN False.')
    return node.PRETRAIN_PATH


def _unsafe(node: CfgNode) -> bool:
    return node.get('PRETRAIN_UNSAFE', False)  # configs without our keys have none


class Swin(nn.Module):
    """torchvision's Swin Transformer as a feature map for FastReID's heads.

    Args:
        model: ``torchvision.models.SwinTransformer``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.features, self.norm = model.features, model.norm

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, C, H / 32, W / 32] of images [B, 3, H, W]."""
        return self.norm(self.features(x)).permute(0, 3, 1, 2).contiguous()


@BACKBONE_REGISTRY.register()
def build_swin_backbone(cfg: CfgNode) -> nn.Module:
    """Swin-T; ``MODEL.BACKBONE.PRETRAIN`` takes torchvision's ImageNet weights or, with
    ``PRETRAIN_PATH``, a file of them.

    Raises:
        ValueError: for a ``MODEL.BACKBONE.DEPTH`` other than ``tiny``.
    """
    from torchvision.models.swin_transformer import Swin_T_Weights, SwinTransformer
    node = cfg.MODEL.BACKBONE
    if str(node.DEPTH) != 'tiny':
        raise ValueError(f'MODEL.BACKBONE.DEPTH {node.DEPTH!r}: build_swin_backbone has only tiny.')
    model = SwinTransformer(patch_size=[4, 4], embed_dim=96, depths=[2, 2, 6, 2],
                            num_heads=[3, 6, 12, 24], window_size=[7, 7],
                            stochastic_depth_prob=node.DROP_PATH_RATIO)
    if node.PRETRAIN:
        if node.PRETRAIN_PATH:
            state = read_pretrained(node, "a file of torchvision's weights")
        else:
            state = Swin_T_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        model.load_state_dict(state, strict=True)
    return Swin(model)


class VMambaMap(VMamba):
    """VMamba as one feature map for FastReID's heads."""

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, C, H / 32, W / 32] of images [B, 3, H, W]."""
        return super().forward(x)[-1]


@BACKBONE_REGISTRY.register()
def build_vmamba_backbone(cfg: CfgNode) -> nn.Module:
    """VMamba; ``MODEL.BACKBONE.DEPTH`` is ``tiny``, ``small``, ``base`` or another released variant.

    ``PRETRAIN_PATH`` takes an official checkpoint, a file or URL; every tensor of it is accounted for.
    ``PRETRAIN_UNSAFE`` allows one that can run code; only for files you trust.

    Raises:
        ValueError: for another ``DEPTH``, or a checkpoint that does not fit or holds code.
    """
    node = cfg.MODEL.BACKBONE
    model = VMambaMap(str(node.DEPTH), out_indices=(-1, ), drop_path_rate=node.DROP_PATH_RATIO)
    if node.PRETRAIN:
        path = _pretrain_path(node, 'an official checkpoint of VMamba')
        logger.info('%s: %s', path, model.load_pretrained(path, _unsafe(node)))
    return model
