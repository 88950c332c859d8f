"""What has diverged: the model that the host trains, or its predictors."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


def not_finite(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity."""
    return [name for name, value in state.items()
            if value.is_floating_point() and not value.isfinite().all()]


@contextmanager
def divergence_named(model: nn.Module) -> Iterator[None]:
    """Within the context a FloatingPointError names the weights or statistics of the model itself that
    are not finite. Where all of them are, it is the predictors' and stays as it is.

    Args:
        model: The converted model, unwrapped.

    Raises:
        FloatingPointError: naming the first of them, and the remedy.
    """
    try:
        yield
    except FloatingPointError as error:
        own = [name for name in not_finite(model.state_dict()) if '.denoiser.' not in name]
        if not own:
            raise
        raise FloatingPointError(
            f'{own[0]} is not finite (NaN or infinity), and so are {len(own) - 1} more tensors of the '
            f'model: it is its training that has diverged, not the predictors. Lower SOLVER.BASE_LR or '
            f'set SOLVER.CLIP_GRADIENTS, and start from a sound checkpoint.') from error
