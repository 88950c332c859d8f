"""Official checkpoints of VMamba in their layouts and namings."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.files.reading import misfit, read_checkpoint
from .vmamba_variants import ARCHITECTURES, architecture

# Names of earlier releases and of grouped linear layers, in the order of their replacement.
_RENAMED = tuple((re.compile(pattern), name) for pattern, name in (
    (r'(^|\.)self_attention\.', r'\1op.'),
    (r'(^|\.)ln_1\.', r'\1norm.'),
    (r'(^|\.)ln_2\.', r'\1norm2.'),
    (r'^patch_embed\.proj\.(?=\d)', 'patch_embed.'),
    (r'^patch_embed\.proj\.', 'patch_embed.0.'),
    (r'^patch_embed\.norm\.', 'patch_embed.2.'),
    (r'^head\.', 'classifier.head.'),
    (r'^norm\.', 'classifier.norm.'),
    (r'\.op\.x_proj\.weight$', '.op.x_proj_weight'),
    (r'\.op\.dt_projs\.(weight|bias)$', r'.op.dt_projs_\1'),
))
_OUTNORM = re.compile(r'outnorm\d+\.(weight|bias)')
_OTHERS = re.compile(r'classifier\.(norm|head)\.(weight|bias)|' + _OUTNORM.pattern)
_WEIGHTS = ('model', 'state_dict')
_URL = ('http://', 'https://')
_STAGE = re.compile(r'layers\.(\d+)\.')
_BLOCK = re.compile(_STAGE.pattern + r'blocks\.(\d+)\.op\.in_proj\.weight')


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint's tensors; ``str()`` is a sentence on it.

    Attributes:
        state: Tensors under the backbone's names.
        left: Names of those that it has no place for.
        fresh: Norms of its outputs that the file does not have, which start as they do in training.
    """

    state: dict[str, Tensor]
    left: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        taken = len(self.state) - len(self.fresh)
        parts = [f'{taken} tensors taken']
        parts += [f'{word}: {", ".join(names)}' for word, names in
                  (('left', self.left), ('fresh', self.fresh)) if names]
        return '; '.join(parts)


def read_official(source: str | Path, unsafe: bool = False) -> dict[str, Tensor]:
    """The model's tensors of a checkpoint of the official code, of mmengine or of FastReID.

    Args:
        source: File or URL. Averaged weights (``model_ema``) are taken where there are no others.
        unsafe: See :func:`~denoiserep_ext.core.files.reading.read_checkpoint`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read.
    """
    checkpoint = read_checkpoint(_downloaded(str(source)), unsafe)
    if not any(isinstance(checkpoint.get(key), Mapping) for key in _WEIGHTS):
        checkpoint = checkpoint.get('model_ema', checkpoint)
    for key in _WEIGHTS:
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    state = {re.sub(r'^module\.', '', name): value for name, value in checkpoint.items()
             if isinstance(value, Tensor)}
    backbone = {name.removeprefix('backbone.'): value for name, value in state.items()
                if name.startswith('backbone.')}
    return backbone or state


def _downloaded(source: str) -> str:
    if not source.startswith(_URL):
        return source
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / source.rpartition('/')[2]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(source, str(path))
    return str(path)


def official_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in any of the layouts, under the names of the raw-parameter layout."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in _RENAMED:
            name = pattern.sub(replacement, name)
        renamed[name] = value
    return renamed


def convert_state(state: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> Conversion:
    """Weights for a backbone from a state dict in any of the layouts, every tensor accounted for.

    A backbone whose only output is the last stage's is one of classification: it takes the norm in
    front of the classifier. Others have norms of their own, which start fresh (ones and zeros) unless
    the file has them.

    Args:
        state: Tensors by name.
        wanted: All parameters and buffers of the backbone. Those of noise predictors may be missing.

    Raises:
        ValueError: naming tensors that are missing, left over or of another shape, or if the weights
            are of a VMamba with a gate, or of none.
    """
    state = official_names(state)
    require_vmamba(state)
    fresh = _fit_norms_(state, wanted)
    left = [name for name in state if name not in wanted and _OTHERS.fullmatch(name)]
    converted = {name: _shaped(value, wanted.get(name)) for name, value in state.items()
                 if name not in left}
    # Values, not the model's tensors: that one may be on meta.
    converted.update({name: torch.full(wanted[name].shape, float(name.endswith('weight')),
                                       dtype=wanted[name].dtype) for name in fresh})
    reason = misfit(converted, wanted, lambda name: '.denoiser.' in name)
    if reason:
        raise ValueError(f'the weights do not fit ({reason}). They are of arch={arch_of(state)!r}.')
    return Conversion(converted, tuple(left), tuple(fresh))


def require_vmamba(state: Mapping[str, Any]) -> None:
    """Refuse tensors of something else, and those of releases with a gate, under the names of the
    raw-parameter layout.

    Raises:
        ValueError: naming some of them, or the gate.
    """
    if not any(_BLOCK.fullmatch(name) for name in state):
        raise ValueError(f'there are no weights of a VMamba among {_some(state)}. Official files of '
                         f'ImageNet belong to the backbone alone: init_cfg=dict(type="Pretrained", '
                         f'checkpoint=...), or convert them by tools/convert_vmamba.py.')
    if all(map(partial(_gated, state), filter(_BLOCK.fullmatch, state))):
        raise ValueError('they are of a VMamba with a gate: in_proj has twice the channels of conv2d. '
                         'The backbone is the released variants without one: VMamba-T[s1l8], -S[s2l15], '
                         '-B[s2l15] and so on, whose files begin with vssm1_ or vssm_.')


def _gated(state: Mapping[str, Any], in_proj: str) -> bool:
    conv = state.get(in_proj.replace('in_proj', 'conv2d'))
    return conv is not None and len(state[in_proj]) == 2 * len(conv)


def _fit_norms_(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Give the classifier's norm to the last stage as only output; returns names that are to start
    fresh."""
    norms = [name for name in wanted if _OUTNORM.fullmatch(name)]
    saved = {name for name in state if _OUTNORM.fullmatch(name)}
    last = max(int(m[1]) for m in map(_STAGE.match, wanted) if m)
    if norms == [f'outnorm{last}.weight', f'outnorm{last}.bias'] and not saved:
        for kind in ('weight', 'bias'):
            if f'classifier.norm.{kind}' in state:
                state[f'outnorm{last}.{kind}'] = state.pop(f'classifier.norm.{kind}')
        return []
    classification = len(saved) == 2 or 'classifier.norm.weight' in state
    absent = [name for name in norms if name not in state]
    # A norm of which one tensor is there has lost the other.
    halved = {name.partition('.')[0] for name in saved}
    return [name for name in absent if classification and name.partition('.')[0] not in halved]


def _shaped(value: Tensor, wanted: Tensor | None) -> Tensor:
    """Grouped linear layers hold the directions one below the other, 1x1 convolutions have two more
    dimensions: the same numbers in the same order."""
    if wanted is None or value.shape == wanted.shape or value.numel() != wanted.numel():
        return value
    ours, theirs = list(wanted.shape), list(value.shape)
    if theirs == [*ours, 1, 1] or theirs == [ours[0] * ours[1], *ours[2:]]:
        return value.reshape(ours)
    return value


def arch_of(state: Mapping[str, Tensor]) -> str | dict[str, Any]:
    """The ``arch`` of a VMamba's tensors, under the names of the raw-parameter layout: a released
    variant's name, or the settings."""
    blocks = sorted({(int(m[1]), int(m[2])) for m in map(_BLOCK.fullmatch, state) if m})
    stages = sorted({stage for stage, _ in blocks})
    depths = tuple(sum(stage == s for s, _ in blocks) for stage in stages)
    first = 'layers.{}.blocks.{}.'.format(*blocks[0])
    inner, dims = state[f'{first}op.in_proj.weight'].shape[:2]
    arch = {'dims': dims, 'depths': depths, 'ssm_ratio': inner / dims}
    sizes = {'d_state': ('op.A_logs', 1), 'kernel_size': ('op.conv2d.weight', -1),
             'mlp_ratio': ('mlp.fc1.weight', 0)}
    for key, (name, dim) in sizes.items():
        if first + name in state:
            size = state[first + name].shape[dim]
            arch[key] = size / dims if key == 'mlp_ratio' else size
    same = (name for name in ARCHITECTURES if architecture(name) == architecture(arch))
    return next(same, arch)


def _some(names: Mapping[str, Any]) -> str:
    shown = list(map(str, names))[:4]
    return f'{", ".join(shown)}{" ..." if len(names) > 4 else ""}' if shown else 'nothing'
