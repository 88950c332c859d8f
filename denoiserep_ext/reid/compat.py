"""FastReID 1.4.0, written for Python 3.9 and torch 1.13, on present ones and without a GPU.

Importing this module imports FastReID. What it changes there, and why:

* names that Python and torch have since moved are lent to FastReID's imports, and taken back;
* ``Optimizer.zero_grad`` has come to drop gradients instead of zeroing them. FastReID's optimisers
  hold one flat buffer whose gradient every parameter's gradient is a view of: dropped once, it never
  comes back, no parameter ever moves again, and nothing is said. Its optimisers zero again;
* loaders that prefetch on a CUDA stream, and DDP's ``device_ids``, are left out where there is no GPU;
* ``INPUT.AFFINE`` passes arguments that torchvision has renamed;
* ``_BASE_`` of a config may list several files (see :mod:`.yaml_bases`);
* the compiled ranking is used where it is compiled; FastReID's own attempt to compile it writes into
  site-packages and ends the process where that fails.
"""
from __future__ import annotations

import collections
import collections.abc
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import transforms

try:
    import faiss  # noqa: F401
    import yacs  # noqa: F401
    _found = importlib.util.find_spec('fastreid') is not None
except ImportError:
    _found = False
if not _found:
    raise ImportError('denoiserep_ext.reid needs FastReID: pip install --no-deps fastreid==1.4.0, then '
                      'pip install denoiserep_ext[reid] for what it needs itself, or bash '
                      'tools/install.sh.')


@contextmanager
def _names_of_old() -> Iterator[None]:
    """``collections.Mapping`` and ``torch._six`` for the length of an import."""
    six = types.ModuleType('torch._six')
    six.string_classes, six.int_classes, six.container_abcs = (str, bytes), int, collections.abc
    lent = not hasattr(collections, 'Mapping')
    if lent:
        collections.Mapping = collections.abc.Mapping
    before = sys.modules.get('torch._six')
    sys.modules['torch._six'] = six
    try:
        yield
    finally:
        if lent:
            del collections.Mapping
        if before is None:
            del sys.modules['torch._six']
        else:
            sys.modules['torch._six'] = before


with _names_of_old():
    import fastreid.config
    import fastreid.data.build
    import fastreid.engine.defaults
    import fastreid.evaluation.reid_evaluation
    import fastreid.evaluation.testing  # noqa: F401


class _Loader:
    """FastReID's prefetching loader for CUDA, a plain one elsewhere."""

    prefetching = fastreid.data.build.DataLoaderX
    device_type = 'cuda' if torch.cuda.is_available() else 'cpu'
    max_workers: int | None = None

    def __new__(cls, local_rank: int, *, num_workers: int = 0, **kwargs):
        if cls.max_workers is not None:
            num_workers = min(num_workers, cls.max_workers)
        if cls.device_type == 'cuda':
            return cls.prefetching(local_rank, num_workers=num_workers, **kwargs)
        return DataLoader(**{**kwargs, 'pin_memory': False}, num_workers=num_workers)


@contextmanager
def loading(cfg) -> Iterator[None]:
    """Within the context FastReID builds loaders for ``MODEL.DEVICE``, with no more workers than
    ``DATALOADER.NUM_WORKERS`` (it would start 4 for every test)."""
    before = _Loader.device_type, _Loader.max_workers
    _Loader.device_type = torch.device(cfg.MODEL.DEVICE).type
    _Loader.max_workers = cfg.DATALOADER.NUM_WORKERS
    try:
        yield
    finally:
        _Loader.device_type, _Loader.max_workers = before


class RandomAffine(transforms.RandomAffine):
    """torchvision's, with the names FastReID uses: nearest pixel, one colour outside."""

    def __init__(self, *args, resample: bool = False, fillcolor: int = 0, **kwargs) -> None:
        super().__init__(*args, interpolation=transforms.InterpolationMode.NEAREST, fill=fillcolor,
                         **kwargs)


def names_in(registry) -> list[str]:
    """What is registered, sorted."""
    return sorted(registry._obj_map)  # FastReID's registries cannot be listed otherwise


def _zeroing(build):
    """FastReID's ``build_optimizer`` whose optimisers keep their flat gradient."""

    @wraps(build)
    def build_optimizer(cfg, model, contiguous=True):
        optimizer, parameters = build(cfg, model, contiguous)
        optimizer.zero_grad = partial(type(optimizer).zero_grad, optimizer, set_to_none=False)
        return optimizer, parameters

    return build_optimizer


def _on_any_device(wrapper):
    """``DistributedDataParallel`` that names no device for a model without one."""

    @wraps(wrapper, updated=())
    def distributed(model, device_ids=None, **kwargs):
        if next(model.parameters()).device.type == 'cpu':
            device_ids = None
        return wrapper(model, device_ids=device_ids, **kwargs)

    return distributed


def _patch() -> None:
    if not hasattr(np, 'bool'):
        np.bool = np.bool_  # NumPy 1.24 to 1.26
    defaults = fastreid.engine.defaults
    if fastreid.data.build.DataLoaderX is _Loader:
        return
    from .yaml_bases import load_yaml_with_base
    fastreid.config.CfgNode.load_yaml_with_base = staticmethod(load_yaml_with_base)
    fastreid.data.build.DataLoaderX = _Loader
    fastreid.data.transforms.build.T = types.SimpleNamespace(
        **{**vars(transforms), 'RandomAffine': RandomAffine})
    defaults.build_optimizer = _zeroing(defaults.build_optimizer)
    defaults.DistributedDataParallel = _on_any_device(defaults.DistributedDataParallel)
    evaluator = fastreid.evaluation.reid_evaluation.ReidEvaluator
    evaluator._compile_dependencies = lambda self: fastreid.utils.comm.synchronize()


_patch()
