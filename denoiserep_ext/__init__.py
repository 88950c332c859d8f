"""DenoiseRep for any torch model, MMPretrain, MMDetection, MMSegmentation and FastReID.

Importing this package needs torch alone; the adapters import their hosts when they are used.
"""
from .core.fit.embedding import ClassMoments, class_posterior
from .core.fit.one_pass import fit_one_pass_
from .core.fit.sgd import PredictorSGD, denoise_loss
from .core.layer.config import DenoiseRepConfig
from .core.layer.conversion import ConversionReport, convert_
from .core.layer.fusion import fuse_, fused_state_dict, held_fused, step_sizes, unconvert_
from .core.layer.layers import explicit_path
from .core.layer.schedule import NoiseSchedule
from .core.pairs.config import PairConfig
from .core.pairs.walk import denoise_pairs_
from .version import __version__

__all__ = [
    'ClassMoments', 'ConversionReport', 'DenoiseRepConfig', 'NoiseSchedule', 'PairConfig',
    'PredictorSGD', 'VMamba', '__version__', 'class_posterior', 'convert_', 'denoise_loss',
    'denoise_pairs_', 'explicit_path', 'fit_one_pass_', 'fuse_', 'fused_state_dict', 'held_fused',
    'step_sizes', 'unconvert_'
]


def __getattr__(name: str):
    """What takes seconds to import, or a host, when it is asked for: VMamba (torch.compile's machinery)
    and what mmengine configs name."""
    if name == 'VMamba':
        from .models.vmamba import VMamba
        return VMamba
    if name in ('BIoUMetric', 'DenoiseRepBackbone', 'DenoiseRepHook'):
        from . import mm
        return getattr(mm, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
