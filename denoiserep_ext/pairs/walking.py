"""A walk through a host's model, with its progress shown."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from tqdm import tqdm

from ..core.pairs.config import PairConfig
from ..core.pairs.report import PairReport
from ..core.pairs.walk import denoise_pairs_
from ..core.processes import process_share
from .loading import PairLoader

_BAR = '{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}'


def walk_(model: nn.Module, loader: PairLoader, config: PairConfig,
          outputs: Callable[[nn.Module, Any], Any]) -> PairReport:
    """Denoise a model by pairs, in place, see :func:`~denoiserep_ext.denoise_pairs_`.

    Args:
        model: The whole trained model.
        loader: The pairs.
        config: Settings, parts of the model and the judge's measure included.
        outputs: Runs the model on a batch, through all layers that are fitted, and gives what the
            judge compares.
    """
    rank, _ = process_share()
    with tqdm(total=1.0, desc='denoising', disable=rank > 0, smoothing=0, leave=False,
              bar_format=_BAR) as bar:
        def progress(share: float, text: str) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(share - bar.n)

        report = denoise_pairs_(model, loader, config, outputs, progress)
        bar.update(1.0 - bar.n)
    return report
