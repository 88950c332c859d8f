"""What a selection takes from a model, counted by the kind of block that holds the layers."""
from __future__ import annotations

import re
from collections import Counter

from torch import nn

from denoiserep_ext.core.layer.selection import select

# Wrappers around one layer, and containers: the block is what holds them.
_WRAPPERS = re.compile(r'Sequential|SequentialList|ModuleList|Conv(Norm|Bn|BN2d)(Act)?|ConvModule|'
                       r'LinearNorm|LinearBatchNorm')
# Parts that no selection by 'auto' may reach into, by class or attribute.
_FORBIDDEN = re.compile(
    r'\w*(?<!Split)(Attention|Attn)|WindowMSA\w*|SEModule|SELayer|SqueezeExcite|LiteMLA|GlobalContext|'
    r'\w*Head|head|heads|head_dist|\w*(PosEnc|RelPosMlp|PositionalEncoding)\w*|cpb_mlp|meta_mlp|rel_pos|'
    r'mlp_tokens|token_mix|SpatialGatingUnit|\w*PatchEmbed')


def blocks_of(model: nn.Module) -> dict[str, int]:
    """Number of layers that ``auto`` selects in each kind of block; empty if it finds nothing.

    Raises:
        AssertionError: if it reaches into a head, a gate, an attention, or a position network.
    """
    counts: Counter[str] = Counter()
    for name in selected(model):
        parts = name.split('.')
        kinds = [type(model.get_submodule('.'.join(parts[:i]))).__name__ for i in range(1, len(parts))]
        forbidden = [part for part in (*parts, *kinds) if _FORBIDDEN.fullmatch(part)]
        assert not forbidden, f'{name} is selected inside {forbidden}'
        counts[next(kind for kind in reversed(kinds) if not _WRAPPERS.fullmatch(kind))] += 1
    return dict(counts)


def selected(model: nn.Module) -> list[str]:
    """Names of the layers that ``auto`` selects."""
    try:
        return [name for name, reason in select(model, 'auto').items() if reason is None]
    except ValueError as error:
        assert str(error).startswith('Nothing to convert')
        return []
