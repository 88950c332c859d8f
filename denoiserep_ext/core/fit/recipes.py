"""Who trains when: the three recipes as a sequence of phases."""
from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..checks import integer
from ..layer.layers import require_denoise_layers


@dataclass(frozen=True)
class Phase:
    """What moves during a stretch of training.

    Attributes:
        name: For logs.
        host_trains: Whether the host's parameters, running statistics, dropout and drop-path are
            live. If not, features are those of the plain model.
        predictors_learn: Whether layers observe their features.
    """

    name: str
    host_trains: bool
    predictors_learn: bool


DENOISE = Phase('denoise', host_trains=False, predictors_learn=True)
BACKBONE = Phase('backbone', host_trains=True, predictors_learn=False)
JOINT = Phase('joint', host_trains=True, predictors_learn=True)

PHASES = {phase.name: phase for phase in (DENOISE, BACKBONE, JOINT)}
RECIPES = ('joint', 'alternate', 'frozen')


@dataclass(frozen=True)
class Recipe:
    """A named sequence of phases.

    Args:
        name: ``'joint'``: everything at once; ``'alternate'``: blocks of ``period`` in turn,
            predictors first (the authors' training); ``'frozen'``: predictors alone, label-free.
        period: Length of a block in epochs or iterations, for ``'alternate'``.

    Raises:
        ValueError: for an unknown name or a period below 1.
    """

    name: str = 'joint'
    period: int = 10

    def __post_init__(self) -> None:
        if self.name not in RECIPES:
            raise ValueError(f'Unknown recipe {self.name!r}: choose one of {", ".join(RECIPES)}.')
        object.__setattr__(self, 'period', integer('period', self.period, 1))

    def phase(self, position: int) -> Phase:
        """The phase at an epoch or iteration, counted from 0."""
        if self.name == 'joint':
            return JOINT
        if self.name == 'frozen' or (position // self.period) % 2 == 0:
            return DENOISE
        return BACKBONE

    def ends(self, position: int) -> bool:
        """Whether a block ends with this epoch or iteration."""
        return self.name == 'alternate' and (position + 1) % self.period == 0


def enter_phase_(model: nn.Module, phase: Phase) -> None:
    """Put a model in training mode as the phase wants it. Call it after every ``model.train()``.

    In a phase without the host, everything but the converted layers is put in evaluation mode, so
    BatchNorm statistics, dropout and drop-path stand still; run it without gradients. Parameters'
    ``requires_grad`` is not touched: what the host froze stays frozen.

    Args:
        model: The whole model, head included.
        phase: What is to move.
    """
    if not phase.host_trains:
        model.eval()
    for _, layer in require_denoise_layers(model):
        layer.training, layer.observing = True, phase.predictors_learn
        if not phase.host_trains:
            layer.train_path = 'plain'
        else:
            layer.train_path = 'explicit' if layer.denoise_config.train_noise else 'fused'
