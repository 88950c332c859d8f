"""VMamba (VSSM; Liu et al., NeurIPS 2024, arXiv 2401.10166) in its released variants."""
from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..core.checks import integer
from .vmamba_checkpoints import Conversion, convert_state, read_official
from .vmamba_variants import architecture
from .vss_block import LayerNorm2d, VSSBlock

logger = logging.getLogger(__name__)


class VMamba(nn.Module):
    """VMamba as a backbone.

    Whatever loads it, in a toolbox or alone, strictly or not: official layouts are understood, and
    weights that do not fit tensor by tensor are an error, since a host that loads non-strictly would
    go on with fresh ones after a warning.

    Args:
        arch: ``tiny``, ``small`` or ``base`` (VMamba-T[s1l8], -S[s2l15], -B[s2l15]), another released
            variant (``tiny-s2l5``, ``small-s1l20``, ``base-s1l20``), or a dict of ``dims`` (channels of
            the first stage, doubled from stage to stage), ``depths`` (blocks of each stage) and, where
            they differ from tiny's, ``ssm_ratio``, ``d_state``, ``dt_rank``, ``kernel_size`` and
            ``mlp_ratio``; see :class:`~denoiserep_ext.models.vss_block.SS2D`.
        in_channels: Channels of the images.
        out_indices: Stages to return; negative ones count from the end.
        drop_path_rate: Stochastic depth of the last block, growing linearly from 0 at the first;
            0 <= rate < 1. The released models were trained with 0.2, 0.3 and 0.6.
        frozen_stages: Freeze the patch embedding (0) and as many stages; -1 freezes nothing.
        with_cp: Gradient checkpointing of the blocks: less memory, more time.
        scan_backend: See :func:`~denoiserep_ext.models.selective_scan.selective_scan`.

    Raises:
        ValueError: naming an argument that cannot be.
    """

    def __init__(self, arch: str | dict[str, Any] = 'tiny', in_channels: int = 3,
                 out_indices: Sequence[int] = (3, ), drop_path_rate: float = 0.1,
                 frozen_stages: int = -1, with_cp: bool = False,
                 scan_backend: str | None = None) -> None:
        super().__init__()
        settings = architecture(arch)
        dims, depths = settings.pop('dims'), settings.pop('depths')
        self.num_stages = len(depths)
        self.out_indices = _stages(out_indices, self.num_stages)
        in_channels = integer('in_channels', in_channels, 1)
        if not isinstance(drop_path_rate, Real) or not 0 <= drop_path_rate < 1:
            raise ValueError(f'drop_path_rate={drop_path_rate!r} must be in [0, 1).')
        self.frozen_stages = integer('frozen_stages', frozen_stages, -1)
        if self.frozen_stages > self.num_stages:
            raise ValueError(f'frozen_stages={frozen_stages!r} must be from -1 (none) to '
                             f'{self.num_stages}.')
        self.channels = tuple(dims * 2**i for i in range(self.num_stages))

        self.patch_embed = _patch_embed(in_channels, dims)
        last = max(sum(depths) - 1, 1)
        rates = (drop_path_rate * block / last for block in itertools.count())
        self.layers = nn.ModuleList()
        for channels, depth, wider in zip(self.channels, depths, (*self.channels[1:], None)):
            stage = nn.Module()
            stage.blocks = nn.Sequential(*[
                VSSBlock(channels, drop_path=next(rates), with_cp=with_cp, scan_backend=scan_backend,
                         **settings) for _ in range(depth)])
            stage.downsample = _downsample(channels, wider) if wider else nn.Identity()
            self.layers.append(stage)
        for i in self.out_indices:
            self.add_module(f'outnorm{i}', LayerNorm2d(self.channels[i]))

        self.apply(_init_linear)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised feature maps of the stages ``out_indices``, at 1/4, 1/8, 1/16 and 1/32 of the
        image's height and width, rounded up, contiguous as [B, C, H, W].

        Args:
            x: Images [B, in_channels, H, W] of any size; B may be 0.
        """
        x = self.patch_embed(x)
        outputs = []
        for i, stage in enumerate(self.layers):
            x = stage.blocks(x)
            if i in self.out_indices:
                # Operators behind a backbone (mmcv's RoIAlign) read memory without asking for strides.
                outputs.append(getattr(self, f'outnorm{i}')(x).contiguous())
            if i == self.out_indices[-1]:
                break
            x = stage.downsample(x)
        return tuple(outputs)

    def load_pretrained(self, source: str | Path, unsafe: bool = False) -> Conversion:
        """Take the weights of an official checkpoint.

        Every tensor is accounted for: what the backbone has no place for is named in the result. A
        file's averaged weights (``model_ema``) are taken where it has no others.

        Args:
            source: File, or URL to download (once) and read.
            unsafe: See :func:`~denoiserep_ext.core.files.reading.read_checkpoint`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, holds no VMamba or another one, naming what does not fit, or
                if the backbone is on ``meta``; nothing is changed then.
        """
        if any(tensor.is_meta for tensor in _tensors(self).values()):
            raise ValueError('The backbone is on the meta device, where there is no memory for weights: '
                             'build it elsewhere, or give it memory by to_empty(device=...) first.')
        state = read_official(source, unsafe)
        try:
            converted = convert_state(state, _tensors(self))
        except ValueError as error:
            raise ValueError(f'{source}: {error}') from error
        self.load_state_dict(converted.state, strict=True)
        logger.info('%s: %s', source, converted)
        return converted

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
        own = [key for key in state_dict if key.startswith(prefix)]
        try:
            converted = convert_state({key[len(prefix):]: state_dict[key] for key in own},
                                      _tensors(self))
        except ValueError as error:
            where = f'{prefix[:-1]} (VMamba)' if prefix else 'VMamba'
            raise ValueError(f'{where}: {error}') from error
        if converted.fresh or converted.left:
            logger.warning('%s', converted)
        for key in own:
            del state_dict[key]
        state_dict.update({prefix + name: value for name, value in converted.state.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)

    def train(self, mode: bool = True) -> VMamba:
        """As for any module; frozen stages stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        frozen = [self.patch_embed, *self.layers[:self.frozen_stages]]
        frozen += [getattr(self, f'outnorm{i}') for i in self.out_indices if i < self.frozen_stages]
        for module in frozen:
            module.eval().requires_grad_(False)


def _stages(indices: int | Sequence[int], count: int) -> tuple[int, ...]:
    listed = indices if isinstance(indices, Sequence) and not isinstance(indices, str) else (indices, )
    listed = [integer('each of out_indices', i, -count) for i in listed]
    stages = sorted({i + count if i < 0 else i for i in listed})
    if not stages or not 0 <= stages[0] <= stages[-1] < count:
        raise ValueError(f'out_indices={indices!r}: there are stages 0 to {count - 1}.')
    return tuple(stages)


# Identities stand where the released models have none or a permutation: they keep the numbers of the
# parameters' names.

def _patch_embed(in_channels: int, dims: int) -> nn.Sequential:
    """Two convolutions of stride 2."""
    return nn.Sequential(
        nn.Conv2d(in_channels, dims // 2, 3, stride=2, padding=1), nn.Identity(),
        LayerNorm2d(dims // 2), nn.Identity(), nn.GELU(),
        nn.Conv2d(dims // 2, dims, 3, stride=2, padding=1), nn.Identity(), LayerNorm2d(dims))


def _downsample(channels: int, wider: int) -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.Conv2d(channels, wider, 3, stride=2, padding=1),
                         nn.Identity(), LayerNorm2d(wider))


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(itertools.chain(module.named_parameters(), module.named_buffers()))
