"""The mmengine adapter: one hook and one backbone builder for every OpenMMLab toolbox."""
from . import layer_types  # noqa: F401  (tells the core about mmcv's wrappers)
from .backbone import DenoiseRepBackbone
from .hook import DenoiseRepHook

__all__ = ['DenoiseRepBackbone', 'DenoiseRepHook']
