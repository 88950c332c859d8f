"""The mmengine adapter: a hook and a backbone builder for every OpenMMLab toolbox, VMamba, a
metric, a transform."""
try:
    import mmengine  # noqa: F401
except ImportError as error:
    raise ImportError('denoiserep_ext.mm needs mmengine and a toolbox: bash tools/install.sh, or pip '
                      'install denoiserep_ext[mmpretrain].') from error

from . import quiet

quiet.import_functional_optimizers()

from . import layer_types  # noqa: E402, F401  (tells the core about mmcv's wrappers)
from .backbone import DenoiseRepBackbone  # noqa: E402
from .boundary_iou import BIoUMetric  # noqa: E402
from .corrupt import Corrupt  # noqa: E402
from .generators import Generators  # noqa: E402
from .hook import DenoiseRepHook  # noqa: E402
from .vmamba import VMamba  # noqa: E402
from .whole_checkpoints import WholeCheckpoints  # noqa: E402

__all__ = ['BIoUMetric', 'Corrupt', 'DenoiseRepBackbone', 'DenoiseRepHook', 'Generators', 'VMamba',
           'WholeCheckpoints']
