"""DenoiseRep's options in FastReID's config, all with defaults, read with errors that name the key."""
from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from fastreid.config import CfgNode
from fastreid.config import get_cfg as fastreid_cfg

from ..core.fit.learning import LearningOptions
from ..core.fit.recipes import Recipe
from ..core.layer.config import DenoiseRepConfig
from ..core.pairs.config import PairConfig
from ..pairs import options as shown
from ..pairs.options import NOISE, ShownNoise, refuse_shown, shown_noise

logger = logging.getLogger('fastreid.denoiserep')


def add_denoiserep_config(cfg: CfgNode) -> CfgNode:
    """Add our keys to a FastReID config, in place.

    ``MODEL.DENOISEREP`` holds the settings of :class:`~denoiserep_ext.DenoiseRepConfig` and
    :class:`~denoiserep_ext.core.fit.learning.LearningOptions` in capitals, and

    * ``META_ARCH``: the meta-architecture that is converted;
    * ``TARGET``: dotted name of the part of it to convert, ``''`` for all; None is its backbone (all
      of an ``MGN``, whose branches are copies of backbone stages);
    * ``RECIPE``, ``PERIOD``: who trains when; ``PERIOD`` counts epochs;
    * ``NOISE`` ``corruption``: noise that is shown, fitted by ``--one-pass`` and never trained, with
      ``CORRUPTIONS`` (names with or without ``@SEVERITY``, or groups), ``SEVERITY`` of names
      without one, ``IMAGES`` (how many are drawn; -1: all) and, in capitals, the settings of
      :class:`~denoiserep_ext.PairConfig` except ``judge``.

    Beside them, for any meta-architecture: ``SEED`` (-1: a new one each run, as FastReID does; >= 0:
    runs repeat and resume exactly), ``DATASETS.ROOT`` ('': the environment's FASTREID_DATASETS) and
    ``MODEL.BACKBONE.PRETRAIN_UNSAFE`` (True: our backbones take a ``PRETRAIN_PATH`` that can run code;
    only for files you trust).
    """
    cfg.MODEL.DENOISEREP = _defaults()
    cfg.SEED = -1
    cfg.DATASETS.ROOT = ''
    cfg.MODEL.BACKBONE.PRETRAIN_UNSAFE = False
    return cfg


def _defaults() -> CfgNode:
    node = CfgNode({'META_ARCH': 'Baseline', 'TARGET': None, 'RECIPE': 'joint', 'PERIOD': 10,
                    'CORRUPTIONS': (), 'SEVERITY': shown.SEVERITY, 'IMAGES': shown.IMAGES})
    for options in (PairConfig, DenoiseRepConfig, LearningOptions):
        node.update({field.name.upper(): field.default for field in fields(options)})
    del node['JUDGE']  # embeddings are compared by their cosine
    # yacs lets None become anything: a string or a list of layers ('auto', or 'all' where noise is
    # shown), a number for RIDGE ('auto').
    node.LAYERS = node.RIDGE = None
    node.LOSS_WEIGHT = 0.1  # the authors' for re-identification
    return node


def remove_denoiserep_config(cfg: CfgNode) -> CfgNode:
    """Take our keys out of a config, in place: stock FastReID knows none of them."""
    for node, key in ((cfg.MODEL, 'DENOISEREP'), (cfg, 'SEED'), (cfg.DATASETS, 'ROOT'),
                      (cfg.MODEL.BACKBONE, 'PRETRAIN_UNSAFE')):
        del node[key]
    return cfg


def get_cfg() -> CfgNode:
    """FastReID's default config with our keys."""
    return add_denoiserep_config(fastreid_cfg())


@dataclass(frozen=True)
class Settings:
    """``MODEL.DENOISEREP``, validated; see :func:`add_denoiserep_config`. Where noise is shown, that of
    ``config`` is ignored: it says which layers."""

    meta_arch: str
    target: str
    config: DenoiseRepConfig
    recipe: Recipe
    options: LearningOptions
    shown: ShownNoise | None


def settings_of(cfg: CfgNode) -> Settings:
    """Read ``MODEL.DENOISEREP``.

    Raises:
        ValueError: naming a value that cannot be.
    """
    node = cfg.MODEL.DENOISEREP
    target = node.TARGET
    if target is None:
        target = '' if node.META_ARCH == 'MGN' else 'backbone'
    try:
        noise = _shown(node)
        config = (DenoiseRepConfig(layers=noise.config.layers) if noise is not None else
                  DenoiseRepConfig(**{**_values(node, DenoiseRepConfig),
                                      'layers': node.LAYERS or 'auto'}))
        return Settings(node.META_ARCH, target, config, Recipe(node.RECIPE, node.PERIOD),
                        LearningOptions(**_values(node, LearningOptions)), noise)
    except (TypeError, ValueError) as error:
        raise ValueError(f'MODEL.DENOISEREP: {error}') from error


def _shown(node: CfgNode) -> ShownNoise | None:
    """The noise that is shown, if it is; an option counts as given where it is not at its default."""
    given = {name.lower(): node[name] for name, usual in _defaults().items() if node[name] != usual}
    if node.NOISE != NOISE:
        refuse_shown(given, node.NOISE)
        return None
    for name in ('meta_arch', 'target', 'recipe', 'period', 'noise'):
        given.pop(name, None)
    if given.get('images') == -1:
        given['images'] = None
    return shown_noise({'layers': 'all', **given})


def refuse_training(cfg: CfgNode) -> None:
    """See that what a config asks for can be trained.

    Raises:
        ValueError: for noise that is shown.
    """
    if cfg.MODEL.META_ARCHITECTURE == 'DenoiseRep' and settings_of(cfg).shown is not None:
        raise ValueError(f'MODEL.DENOISEREP.NOISE {NOISE} is fitted once to a trained model and never '
                         f'trained: give --one-pass FOLDER, a folder of unlabelled images.')


def _values(node: CfgNode, options: type) -> dict:
    return {field.name: node[field.name.upper()] for field in fields(options)}


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """A FastReID config file with our keys, adapted to this machine, not frozen.

    Args:
        path: YAML file, ``''`` for the defaults.
        overrides: ``KEY VALUE KEY VALUE ...`` as on FastReID's command line.

    Raises:
        FileNotFoundError: if there is no such file, or no ``MODEL.WEIGHTS``.
        ValueError: for an unknown key (with the nearest ones) or a value that cannot be.
    """
    cfg = get_cfg()
    if path and not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no such config file.')
    try:
        if path:
            cfg.merge_from_file(str(path))
        cfg.merge_from_list(list(overrides))
    except (KeyError, AssertionError) as error:
        raise ValueError(_explain(str(error.args[0]), cfg)) from error
    if cfg.MODEL.META_ARCHITECTURE == 'DenoiseRep':
        _check(cfg, settings_of(cfg))
    weights = cfg.MODEL.WEIGHTS
    if weights and '://' not in weights and not os.path.isfile(weights):
        raise FileNotFoundError(f'MODEL.WEIGHTS {weights}: no such checkpoint.')
    adapt_to_device_(cfg)
    return cfg


def _check(cfg: CfgNode, settings: Settings) -> None:
    if settings.recipe.name == 'frozen' and cfg.TEST.PRECISE_BN.ENABLED:
        raise ValueError("RECIPE frozen leaves BatchNorm statistics as they are, and TEST.PRECISE_BN "
                         'would compute new ones: choose one of the two.')


def _explain(error: str, cfg: CfgNode) -> str:
    """yacs's complaint, with keys that may have been meant."""
    key = error.rpartition(': ')[2]
    known = list(_keys(cfg))
    near = difflib.get_close_matches(key, known, 3, 0.6)
    last = key.rpartition('.')[2]
    near += [k for k in known if k.rpartition('.')[2] == last and k not in near]
    hint = f' Did you mean {" or ".join(near)}?' if near else ''
    return f'Config: {error}.{hint}'


def _keys(node: CfgNode, prefix: str = '') -> Iterator[str]:
    for name, value in node.items():
        yield f'{prefix}{name}'
        if isinstance(value, CfgNode):
            yield from _keys(value, f'{prefix}{name}.')


def adapt_to_device_(cfg: CfgNode) -> None:
    """Train on the CPU, in full precision, where there is no GPU; said in the log."""
    if torch.device(cfg.MODEL.DEVICE).type == 'cuda' and not torch.cuda.is_available():
        logger.warning('There is no GPU: MODEL.DEVICE cpu.')
        cfg.MODEL.DEVICE = 'cpu'
    if torch.device(cfg.MODEL.DEVICE).type == 'cpu' and cfg.SOLVER.AMP.ENABLED:
        logger.warning('FastReID trains in mixed precision on GPUs only: SOLVER.AMP.ENABLED False.')
        cfg.SOLVER.AMP.ENABLED = False
