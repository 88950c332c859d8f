"""Hosts that the hook cannot train in, refused before anything is converted or written."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn


class DenoisingHook(Hook):
    """A hook that denoises the runner's model, of which there must be one.

    Attributes:
        selected: What selects layers, by the part of the model.
    """

    selected: dict[str, Any]


def bare_model(runner) -> nn.Module:
    """The runner's model without its DDP wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def check_runner(runner) -> None:
    """Refuse runners whose weights a hook cannot follow, and several of our hooks.

    Args:
        runner: About to train.

    Raises:
        TypeError: for a runner or model wrapper of another kind.
        ValueError: for settings or hooks that do not go together.
    """
    if not isinstance(runner, Runner):
        raise TypeError(f'DenoiseRepHook works with the default Runner, not with '
                        f'{type(runner).__name__}, which loads checkpoints before the model is '
                        f'converted and resumes from fused weights: remove runner_type from the config.')
    if is_model_wrapper(runner.model) and not isinstance(runner.model, MMDistributedDataParallel):
        raise TypeError(f'DenoiseRepHook works with a bare model or MMDistributedDataParallel, not '
                        f'with {type(runner.model).__name__}.')
    if runner.cfg.get('efficient_conv_bn_eval'):
        raise ValueError('efficient_conv_bn_eval reads the convs\' weights past their forward and '
                         'would bypass DenoiseRep: remove it from the config.')
    hooks = [hook for hook in runner.hooks if isinstance(hook, DenoisingHook)]
    if len({type(hook) for hook in hooks}) > 1:
        raise ValueError("One DenoiseRepHook has noise='corruption', which is fitted once, and another "
                         'one trains: run the first, and start the other from its checkpoint.')
    if len(hooks) > 1:
        raise ValueError(f'There are {len(hooks)} DenoiseRepHooks, and each would denoise the model '
                         f'once more: {_one_for_all(hooks)}.')


def check_host(runner) -> None:
    """Refuse, besides, hosts whose steps a hook that trains cannot follow.

    Args:
        runner: About to train, its optimiser built.

    Raises:
        TypeError, ValueError: see :func:`check_runner`; for an optimiser of another kind, too.
    """
    check_runner(runner)
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper) or isinstance(wrapper, OptimWrapperDict):
        raise TypeError(f'DenoiseRepHook needs one optimizer, whose steps it can pause, not '
                        f'{type(wrapper).__name__}: give optim_wrapper a single one.')
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and getattr(hook, 'src_model', None) is bare_model(runner):
            raise ValueError('EMAHook has copied the model before DenoiseRepHook could convert it: '
                             'give EMAHook a lower priority (its default, NORMAL, is fine).')


def check_ends_early(runner) -> None:
    """Refuse train loops that cannot be told that nothing is left to train.

    Raises:
        TypeError: naming the loop.
    """
    loop = runner._train_loop
    if not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        raise TypeError(f"noise='corruption' leaves nothing to train and cannot end a "
                        f'{type(loop).__name__}: set train_cfg to an EpochBasedTrainLoop or '
                        f'IterBasedTrainLoop.')


def _one_for_all(hooks: Sequence[DenoisingHook]) -> str:
    """How to say in one hook what several say."""
    parts = {}
    for hook in hooks:
        parts.update(hook.selected)
    if len(parts) == 1:
        return 'keep one of them'
    selections = list(parts.values())
    if all(layers == selections[0] for layers in selections):
        return f'write one, with target={list(parts)!r}'
    return f'write one, with layers={parts!r} and no target'
