"""A second device on any machine, in a GPU's place: its tensors are computed on the CPU, but refuse,
as a GPU's do, to be computed with tensors on the CPU."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# PyTorch lets no other name pass that it has no driver for; so some of its functions warn that nothing
# is computed, where all is.
GPU = torch.device('meta')
_ACROSS = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


class _Elsewhere(Tensor):
    """A tensor that says it is on the GPU."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> _Elsewhere:
        self = Tensor._make_wrapper_subclass(cls, inner.shape, strides=inner.stride(),
                                             storage_offset=inner.storage_offset(), dtype=inner.dtype,
                                             device=GPU)
        self.inner = inner
        return self

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return _computed(operator, args, kwargs or {})

    def __repr__(self, **_) -> str:
        return f'{self.inner!r} elsewhere'


class SecondDevice(TorchDispatchMode):
    """Within the context ``tensor.to(GPU)`` and ``device=GPU`` give tensors that are elsewhere.
    Gradients cannot be taken of them."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        return _computed(operator, args, kwargs or {})


def moved_(model: nn.Module) -> nn.Module:
    """Move a model there, in place. (Module.to would put the data into parameters that stay here.)"""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return model.to(GPU)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _computed(operator, args, kwargs):
    device = kwargs.get('device')
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    # Single numbers may come from the CPU.
    places = {x.device for x in tensors if x.dim()} or {x.device for x in tensors}
    if operator is torch.ops.aten.copy_.default:
        place = args[0].device
    elif device is not None:
        place = torch.device(device)
    elif len(places) > 1:
        raise RuntimeError(f'Expected all tensors to be on the same device, but found {places} '
                           f'({operator})')
    else:
        place = next(iter(places), torch.device('cpu'))
    if device is not None:
        kwargs = {**kwargs, 'device': 'cpu'}
    found = operator(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if args and found is _inner(args[0]):  # changed in place
        return args[0]
    return tree_map(lambda x: _Elsewhere(x) if isinstance(x, Tensor) and place == GPU else x, found)


def _inner(x):
    return x.inner if isinstance(x, _Elsewhere) else x
