"""nn.MultiheadAttention with its projections as layers that are called."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NAMES = ('query', 'key', 'value')


class OpenedAttention(nn.Module):
    """What an nn.MultiheadAttention becomes within :func:`opened_attention`: the same function, its
    projections being Linear layers ``query``, ``key``, ``value`` and ``out_proj``.

    torch computes the rest: it is given identity projections, whose products are exact.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
                need_weights: bool = True, attn_mask: Tensor | None = None,
                average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        projected = [getattr(self, name)(x) for name, x in zip(_NAMES, (query, key, value))]
        if self.batch_first and query.dim() == 3:
            projected = [x.transpose(0, 1) for x in projected]
        identity = torch.eye(self.embed_dim, dtype=projected[0].dtype, device=projected[0].device)
        output, weights = F.multi_head_attention_forward(
            *projected, self.embed_dim, self.num_heads, None, None, self.bias_k, self.bias_v,
            self.add_zero_attn, self.dropout, identity, None, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=True, q_proj_weight=identity, k_proj_weight=identity,
            v_proj_weight=identity, average_attn_weights=average_attn_weights, is_causal=is_causal)
        if self.batch_first and query.dim() == 3:
            output = output.transpose(0, 1)
        return self.out_proj(output), weights


@contextmanager
def opened_attention(model: nn.Module) -> Iterator[None]:
    """Within the context every nn.MultiheadAttention calls its projections as layers of their own, and
    encoder layers take no path around them. Afterwards it is what it was, with their weights."""
    found = [m for m in model.modules() if type(m) is nn.MultiheadAttention]
    fast = torch.backends.mha.get_fastpath_enabled()
    packed = []
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for module in found:
            packed.append(_open(module))
        yield
    finally:
        for module, parameters in zip(found, packed):
            _close(module, parameters)
        torch.backends.mha.set_fastpath_enabled(fast)


def _open(module: nn.MultiheadAttention) -> dict[str, nn.Parameter | None]:
    own = dict(module._parameters)
    if own['in_proj_weight'] is not None:
        weights = own['in_proj_weight'].chunk(3)
    else:
        weights = own['q_proj_weight'], own['k_proj_weight'], own['v_proj_weight']
    bias = own['in_proj_bias']
    for name, weight, part in zip(_NAMES, weights, (None, ) * 3 if bias is None else bias.chunk(3)):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=part is not None, device='meta')
        for key, value in (('weight', weight), ('bias', part)):
            if value is not None:
                setattr(layer, key, nn.Parameter(value.detach().clone(), requires_grad=False))
        module.add_module(name, layer)
    for key in own:
        if 'proj' in key:
            del module._parameters[key]
    module.__class__ = OpenedAttention
    return own


@torch.no_grad()
def _close(module: nn.Module, own: dict[str, nn.Parameter | None]) -> None:
    module.__class__ = nn.MultiheadAttention
    layers = [module._modules.pop(name) for name in _NAMES]
    weights = [layer.weight for layer in layers]
    if own['in_proj_weight'] is not None:
        own['in_proj_weight'].copy_(torch.cat(weights))
    else:
        for key, weight in zip(('q_proj_weight', 'k_proj_weight', 'v_proj_weight'), weights):
            own[key].copy_(weight)
    if own['in_proj_bias'] is not None:
        own['in_proj_bias'].copy_(torch.cat([layer.bias for layer in layers]))
    module._parameters.clear()
    module._parameters.update(own)
