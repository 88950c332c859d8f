"""The mmengine adapter: a hook and a backbone builder for every OpenMMLab toolbox, VMamba, a
metric, a transform."""
try:
    import mmengine  # noqa: F401
except ImportError as error:
    raise ImportError('denoiserep_ext.mm needs mmengine and a toolbox: bash tools/install.sh, or pip '
                      'install denoiserep_ext[mmpretrain].') from error

from . import layer_types  # noqa: F401  (tells the core about mmcv's wrappers)
from .backbone import DenoiseRepBackbone
from .boundary_iou import BIoUMetric
from .corrupt import Corrupt
from .generators import Generators
from .hook import DenoiseRepHook
from .vmamba import VMamba
from .whole_checkpoints import WholeCheckpoints

__all__ = ['BIoUMetric', 'Corrupt', 'DenoiseRepBackbone', 'DenoiseRepHook', 'Generators', 'VMamba',
           'WholeCheckpoints']
