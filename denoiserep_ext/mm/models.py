"""Models from OpenMMLab configs, without a Runner."""
from __future__ import annotations

import re
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ..core.files.reading import misfit, read_checkpoint
from .stacks import repair_package_names

# Buffers that models compute themselves; releases differ in which of them they save.
_COMPUTED = re.compile(r'relative_position_index|relative_coords_table|attn_mask|num_batches_tracked')


def build_model(config: str | Config) -> nn.Module:
    """Build a config's model with fresh weights.

    Args:
        config: A config, its file, or ``pkg::file`` of an installed toolbox.

    Raises:
        FileNotFoundError: if the config file does not exist.
        ValueError: if it describes no model.
        ImportError: if its toolbox is not installed.
    """
    if isinstance(config, str):
        repair_package_names()
        if '::' in config:
            from mmengine.hub import get_config
            config = get_config(config)
        else:
            config = Config.fromfile(config)
    if 'model' not in config:
        raise ValueError(f'{config.filename or "the config"} has no model.')
    require_toolbox(config.get('default_scope'))
    init_default_scope(config.get('default_scope', 'mmengine'))
    model = dict(config.model)
    if 'data_preprocessor' in config:
        # What the Runner of mmpretrain does for its configs.
        model.setdefault('data_preprocessor', config.data_preprocessor)
        if config.get('default_scope') == 'mmpretrain':
            model['data_preprocessor'] = {'type': 'ClsDataPreprocessor', **model['data_preprocessor']}
    return MODELS.build(model)


def load_model(config: Config, checkpoint: str | Path, unsafe: bool = False) -> nn.Module:
    """Build a config's model with a checkpoint's weights, in evaluation mode.

    Args:
        config: A config without DenoiseRep.
        checkpoint: Plain or fused checkpoint of its model.
        unsafe: See :func:`~denoiserep_ext.core.files.reading.read_checkpoint`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another model, naming the first tensors that differ.
    """
    file = read_checkpoint(checkpoint, unsafe)
    state = {key.removeprefix('module.'): value
             for key, value in file.get('state_dict', file).items()}
    config = Config(config.to_dict())
    config.model.pop('pretrained', None)
    model = build_model(config)
    reason = misfit(state, model.state_dict(), _COMPUTED.search)
    if reason:
        raise ValueError(f'{checkpoint} is of another model ({reason}): give the config that it was '
                         f'trained with.')
    model.load_state_dict(state, strict=False)
    model.eval()
    return model


def require_toolbox(scope: str | None) -> None:
    """Check that a config's toolbox is there.

    Raises:
        ImportError: naming it and how to get it.
    """
    packages = {'mmpretrain': 'mmpretrain', 'mmdet': 'mmdet', 'mmseg': 'mmsegmentation'}
    if scope is None or scope == 'mmengine':
        return
    try:
        __import__(scope)
    except ImportError as error:
        package = packages.get(scope, scope)
        raise ImportError(f'{scope} is needed by this config and cannot be imported ({error}): '
                          f'bash tools/install.sh, or pip install {package}.') from error
