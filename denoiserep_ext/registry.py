"""Child registries of scope ``denoiserep_ext``: they make ``type='denoiserep_ext.X'`` resolve in any
mmengine config without ``custom_imports``."""
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

_SCOPE = 'denoiserep_ext'

HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope=_SCOPE, locations=['denoiserep_ext.mm'])
MODELS = Registry('model', parent=MMENGINE_MODELS, scope=_SCOPE, locations=['denoiserep_ext.mm'])
