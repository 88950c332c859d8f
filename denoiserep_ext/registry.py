"""Child registries of scope ``denoiserep_ext``: they make ``type='denoiserep_ext.X'`` resolve in any
mmengine config without ``custom_imports``."""
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

_SCOPE, _LOCATIONS = 'denoiserep_ext', ['denoiserep_ext.mm']

HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope=_SCOPE, locations=_LOCATIONS)
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope=_SCOPE, locations=_LOCATIONS)
MODELS = Registry('model', parent=MMENGINE_MODELS, scope=_SCOPE, locations=_LOCATIONS)
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope=_SCOPE, locations=_LOCATIONS)
