"""Training where there is no accelerator, which stock mmengine does not expect when distributed."""
from __future__ import annotations

from typing import Any

import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device


def adapt_to_cpu_(cfg: Config) -> bool:
    """Change what a config has for GPUs only, in place; nothing happens where there is a device.

    SyncBN, which computes on GPUs alone, becomes BN. For ``launcher='pytorch'`` the process group is
    started with gloo, before the Runner would ask for CUDA, and the DDP wrapper gets no device.

    Returns:
        Whether this is a CPU-only machine.
    """
    if get_device() != 'cpu':
        return False
    _replace_type(list(cfg.values()), 'SyncBN', 'BN')  # a Config itself is no dict
    if cfg.get('launcher') == 'pytorch':
        if not dist.is_initialized():
            dist.init_process_group('gloo')
        wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False,
                       find_unused_parameters=cfg.get('find_unused_parameters', False))
        cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}),
                                 'device_ids': None}
    return True


def _replace_type(node: Any, old: str, new: str) -> None:
    if isinstance(node, dict):
        if node.get('type') == old:
            node['type'] = new
        children = node.values()
    else:
        children = node if isinstance(node, (list, tuple)) else ()
    for child in children:
        _replace_type(child, old, new)
