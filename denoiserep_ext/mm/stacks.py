"""Where the OneDL fork differs from the official packages."""
from importlib.util import find_spec

from mmengine.config import utils
from mmengine.utils import is_installed


def repair_package_names() -> None:
    """Let configs inherit ``mmseg::...`` where mmseg comes from a distribution of another name.

    mmengine looks for a distribution called mmsegmentation and would otherwise try to install the
    official one beside the fork.
    """
    if not is_installed('mmsegmentation') and find_spec('mmseg') is not None:
        utils.MODULE2PACKAGE['mmseg'] = 'mmseg'


def mim_name(scope: str) -> str:
    """What ``mim train`` and ``mim test`` call a toolbox.

    Args:
        scope: Its module and default scope. The fork's mim finds ``mmdet`` ambiguous.
    """
    return 'mmdetection' if scope == 'mmdet' and is_installed('onedl-mmdetection') else scope
