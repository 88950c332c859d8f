"""Settings of denoising from pairs, validated once."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

from ..checks import integer

FORMS = ('patch', 'pointwise', 'scale', 'bias')
JUDGES = ('auto', 'js', 'cosine', 'feature')
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # tried per layer by 'auto', beside bias alone and nothing


@dataclass(frozen=True)
class PairConfig:
    """Settings of :func:`~denoiserep_ext.denoise_pairs_`.

    Args:
        layers: ``'all'`` (every Linear and Conv2d but heads and position networks; attention
            projections, patch embeddings and 1x1 convs too), ``'auto'``, a regular expression, name
            suffixes or a mapping of parts, see :class:`~denoiserep_ext.DenoiseRepConfig`.
        heads: Fit heads as well, wherever they are in the model. With fewer images than unknowns
            they rarely gain.
        form: What may change in a layer. ``'patch'``: all its weights, so that it sees the best linear
            estimate of its whole clean patch; ``'pointwise'``: a map of the channels in front of it
            (the paper's structure); ``'scale'``: a factor and a shift per output channel;
            ``'bias'``: a shift alone.
        clean_weight: Weight of clean images (>= 0) against 1 for worse ones, shared among the
            corruptions. Less gives more on worse images and costs more on clean ones; ``math.inf``
            leaves the model as it is.
        ridge: Pull of the new weights towards the trained ones (>= 0), in units of the mean variance
            of the layer's input; 0 needs more positions than unknowns. ``'auto'`` chooses it layer
            by layer by cross-validation between halves of the images; leaving the layer as it is
            is one of the candidates.
        positions: Output positions drawn per image and call of a layer (>= 1).
        damping: Share of the step from the trained to the fitted weights that is taken, in (0, 1].
        skip: Let the last layer of a residual branch make up for what the skip connection carries.
        held_out: Share of the images, in [0, 0.5], that the judge keeps for itself: half of them to
            decide on blocks, half for the verdict on the whole. Of few images it is more, up to
            0.4, until there are 48. 0: no judge.
        judge: How it compares outputs: ``'js'`` for class scores, ``'cosine'`` for embeddings,
            ``'feature'``, squared error, for anything; ``'auto'``: ``'js'`` for one output
            [images, classes], ``'feature'`` otherwise.
        memory: Bytes of features that are kept in the memory of the CPU; what is more goes to a
            temporary folder.
        gpu_memory: Bytes of features that stay on the GPU they were computed on, before the memory of
            the CPU is used. None: as long as half of the GPU's memory stays free.
        seed: Seed of the drawn positions; the global generators are never touched.

    Raises:
        ValueError: for an unknown choice or a value out of range.
    """

    layers: str | Sequence[str] | Mapping[str, str | Sequence[str]] = 'all'
    heads: bool = False
    form: str = 'patch'
    clean_weight: float = 1.0
    ridge: float | str = 'auto'
    positions: int = 48
    damping: float = 1.0
    skip: bool = True
    held_out: float = 0.2
    judge: str = 'auto'
    memory: int = 4 * 2**30
    gpu_memory: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (('form', FORMS), ('judge', JUDGES)):
            if getattr(self, name) not in choices:
                raise ValueError(f'Unknown {name} {getattr(self, name)!r}: choose one of '
                                 f'{", ".join(choices)}.')
        for name, least in (('positions', 1), ('memory', 0), ('seed', 0)):
            object.__setattr__(self, name, integer(name, getattr(self, name), least))
        if self.gpu_memory is not None:
            object.__setattr__(self, 'gpu_memory', integer('gpu_memory', self.gpu_memory, 0))
        if self.ridge != 'auto':
            _within('ridge', self.ridge, lambda x: 0 <= x < math.inf, "'auto' or a finite number >= 0")
        _within('clean_weight', self.clean_weight, lambda x: x >= 0, 'a number >= 0')
        _within('damping', self.damping, lambda x: 0 < x <= 1, 'a number in (0, 1]')
        _within('held_out', self.held_out, lambda x: 0 <= x <= 0.5, 'a number in [0, 0.5]')

    @property
    def shares(self) -> tuple[float, float]:
        """What worse and clean images count, adding up to 1."""
        if math.isinf(self.clean_weight):
            return 0.0, 1.0
        return 1 / (1 + self.clean_weight), self.clean_weight / (1 + self.clean_weight)


def _within(name: str, value: object, holds, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not holds(value):
        raise ValueError(f'{name} must be {what}, got {value!r}.')
