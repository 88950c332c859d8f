"""What ``auto`` selects: both MLP layers of transformer and SSM blocks, the convs of residual blocks.

Blocks are known by the field's class and attribute names, backed by the shapes.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedTensorMixin

from .layer_types import is_candidate

LOOKS_FOR = ("'auto' looks for both layers of an MLP (from width d to h and back to d, in a part named "
             'mlp or ffn, or named fc1 and fc2 themselves) and for the convs of residual blocks (of '
             'classes named BasicBlock, Bottleneck, InvertedResidual, MBConv and the like)')

_MLP = re.compile(r'mlp|ffn|feed_?forward|CNBlock', re.I)
_MLP_PAIRS = (('fc1', 'fc2'), ('linear1', 'linear2'), ('pwconv1', 'pwconv2'),
              ('pointwise_conv1', 'pointwise_conv2'))
_MLP_MAX_LAYERS = 3  # two, or three in a gated one; more is a model that merely has MLP in its name
# What is shaped like an MLP here mixes tokens; in MLP-Mixers its widths even count tokens, not channels.
_TOKEN_MIXER = re.compile(r'(.*\.)?(mlp_tokens|token_mix|token_mixer)(\..*)?')
_TOKEN_GATE = re.compile(r'SpatialGating')

_RESIDUAL = re.compile(
    r'^(?!SPP).*(BasicBlock|Bottleneck(?!Attn)|Bottle2neck|Residual|Res(Net)?Block|OSBlock|'
    r'M[Bb]Conv(LN)?(Block)?$|DepthwiseSeparableConv$|DarkBlock|EdgeBlock|CSPNeXtBlock|ShuffleUnit|'
    r'XceptionModule|SelectiveKernelBasic|DlaBasic|SelfAttnBlock|RepLKBlock)')
# Residual where they have an identity branch, which is a norm of their own.
_REPARAMETRISABLE = re.compile(r'Rep(VGG|Vgg)Block|MobileOneBlock')
# What EfficientNetV2's single convs with a shortcut are known by.
_SKIP_FLAGS = ('has_skip', 'use_shortcut')
_GATE = re.compile(r'^SE|SEModule|Squeeze|Excit|Gate(?!d)|ECA|(?<!Split)Att(n|ention)|LiteMLA|Lambda|'
                   r'NonLocal|Context|Cbam')
_SPLIT_ATTENTION = re.compile(r'(.*\.)?fc[12]')  # how ResNeSt's split attention calls its two gates

HEAD, PREDICTOR = 'classifier head', 'last layer of a detection or segmentation head'

_HEAD = re.compile(r'(.*\.)?(head|heads|head_dist|classifier|cls_head)(\..*)?|fc|last_linear')
_POSITION = re.compile(r'(.*\.)?(cpb_mlp|meta_mlp|rel_pos|query_scale|ref_point_head)(\..*)?')
_PREDICTOR = re.compile(
    r'(.*\.)?(\w+_(cls|reg|seg|logits|obj|iou|centerness)|(cls|reg)_branches\..*)')

Selection = dict[str, 'str | None']


def auto(model: nn.Module) -> Selection:
    """The layers of the blocks that ``auto`` knows: None by name, or why a layer in a block is left.

    Args:
        model: Any torch model.
    """
    found: Selection = {}
    for name, module in model.named_modules():
        block = _mlp_layers(name, module) or _residual_layers(module)
        for inner, reason in block.items():
            full = _join(name, inner)
            if full not in found or found[full] is not None:
                found[full] = usually_left(full) or reason
    return found


def usually_left(name: str) -> str | None:
    """Why a layer of this name is left unless it is asked for by name, or None."""
    if _POSITION.fullmatch(name):
        return 'position network: its input is coordinates, not features'
    if _HEAD.fullmatch(name):
        return HEAD
    if _PREDICTOR.fullmatch(name):
        return PREDICTOR
    return None


def _mlp_layers(name: str, module: nn.Module) -> Selection:
    """Names below ``module`` of the layers of the MLP that it is, or that stands among its parts."""
    kind = type(module).__name__
    if _MLP.search(kind) or _MLP.search(name.rpartition('.')[2]):
        gates = list(_parts(module, _TOKEN_GATE))
        layers = {n: m for n, m in module.named_modules() if _is_pointwise(m)
                  and not _POSITION.fullmatch(_join(name, n))}
        mlp = {n: m for n, m in layers.items() if not _inside(n, gates)}
    else:
        pairs = () if _GATE.search(kind) else _MLP_PAIRS
        children = {n: m for n, m in module.named_children() if _is_pointwise(m)}
        layers = mlp = next(({n: children[n] for n in pair} for pair in pairs
                             if children.keys() >= set(pair)), {})
    if not _is_mlp(list(mlp.values())):
        return {}
    mixes = _TOKEN_MIXER.fullmatch(name)
    return {n: 'part of the token mixer, not of the MLP' if mixes or n not in mlp else None
            for n in layers}


def _residual_layers(module: nn.Module) -> Selection:
    """Names below ``module`` of the convs of the residual block that it is."""
    kind = type(module).__name__
    identity = any(isinstance(child, _BatchNorm) for child in module.children())
    if not (_RESIDUAL.search(kind) or (_REPARAMETRISABLE.search(kind) and identity)
            or any(getattr(module, flag, False) is True for flag in _SKIP_FLAGS)):
        return {}
    gates = list(_parts(module, _GATE))
    return {name: 'gate or attention inside a residual block'
            if _inside(name, gates) or _SPLIT_ATTENTION.fullmatch(name) else None
            for name, conv in module.named_modules() if name and isinstance(conv, nn.Conv2d)}


def _is_pointwise(module: nn.Module) -> bool:
    weight = getattr(module, 'weight', None)
    if not is_candidate(module) or weight is None or isinstance(weight, UninitializedTensorMixin):
        return False
    if isinstance(module, nn.Conv2d):
        return set(module.kernel_size) == {1} and module.groups == 1
    return True


def _is_mlp(layers: list[nn.Module]) -> bool:
    """Whether the layers lead from some width to a hidden one at least as large (or to two of them,
    one to gate the other), and back."""
    if not 2 <= len(layers) <= _MLP_MAX_LAYERS:
        return False
    first, last = layers[0].weight.shape, layers[-1].weight.shape
    return last[0] == first[1] <= first[0] and first[0] in (last[1], 2 * last[1])


def _parts(module: nn.Module, kinds: re.Pattern) -> Iterator[str]:
    return (n for n, m in module.named_modules() if n and kinds.search(type(m).__name__))


def _inside(name: str, parts: list[str]) -> bool:
    return any(name == part or name.startswith(f'{part}.') for part in parts)


def _join(name: str, inner: str) -> str:
    return f'{name}.{inner}' if name else inner
