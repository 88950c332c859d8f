"""The FastReID adapter: ``MODEL.META_ARCHITECTURE: DenoiseRep`` in any of its configs.

Importing this package registers the meta-architecture, backbones, a head and data sets with FastReID.
"""
from . import compat  # noqa: F401, I001  (first: it makes FastReID importable)
from . import backbones, datasets, heads, meta_arch  # noqa: F401
from .config import add_denoiserep_config, get_cfg, read_config
from .trainer import Trainer

__all__ = ['Trainer', 'add_denoiserep_config', 'get_cfg', 'read_config']
