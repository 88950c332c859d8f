"""Noise that is assumed or measured from labels: taken out by the moments of one pass."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.fit.embedding import class_posterior
from ..core.fit.one_pass import convert_to_fold_, solve_and_fuse_
from ..core.fit.sizes import describe, warning_of
from ..core.layer.config import DenoiseRepConfig
from ..core.layer.selection import find_part
from .host import Host
from .passing import PassMoments

NOISES = ('unit', 'relative', 'within_class')


@dataclass(frozen=True)
class Denoising:
    """What to take out of the features, and how much of it.

    Args:
        noise: ``'unit'`` or ``'relative'``, in front of every selected layer; ``'within_class'``, of the
            final embedding, measured from labels.
        strength: Noise level lambda (>= 0) of the full step to the posterior mean; 0 changes nothing.
        step_stride, steps, update: For unit and relative noise instead of a strength: steps of the
            paper's schedule, see :class:`~denoiserep_ext.DenoiseRepConfig`.
        centred: For within-class noise: leave the mean of all embeddings out, see
            :func:`~denoiserep_ext.class_posterior`; with strength 0 that is all that happens.

    Raises:
        ValueError: for a setting that cannot be.
    """

    noise: str = 'unit'
    strength: float | None = None
    step_stride: int = 1
    steps: Sequence[int] | None = None
    update: str = 'reverse'
    centred: bool = False

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            raise ValueError(f'Unknown noise {self.noise!r}: choose one of {", ".join(NOISES)}.')
        if self.of_embedding:
            if self.strength is None:
                raise ValueError('within_class noise needs a strength: steps of the schedule belong to '
                                 'unit and relative noise.')
            if self.steps is not None or self.step_stride != 1:
                raise ValueError('within_class noise takes a strength, not steps.')
        elif self.centred:
            raise ValueError('centred belongs to within_class noise: it is of the final embedding.')
        self.config('auto')  # validates the rest

    @property
    def of_embedding(self) -> bool:
        """Whether it is the final embedding that is denoised, instead of layers' inputs."""
        return self.noise == 'within_class'

    def config(self, layers: Any) -> DenoiseRepConfig:
        """The settings of the layers' conversion."""
        return DenoiseRepConfig(layers=layers, noise='unit' if self.of_embedding else self.noise,
                                strength=self.strength, step_stride=self.step_stride,
                                steps=self.steps, update=self.update)

    @property
    def kind(self) -> str:
        """The noise, and whether the mean is left out."""
        return f'{self.noise}, centred' if self.centred else self.noise

    @property
    def level(self) -> float:
        """The strength, in a sweep."""
        return self.strength

    @property
    def caution(self) -> tuple[float, ...]:
        """The weaker, the more of it."""
        return (-self.strength, )

    def as_dict(self) -> dict[str, Any]:
        """What a sweep varies, as plain data."""
        return {'noise': self.noise, 'strength': self.strength, 'centred': self.centred}

    def __str__(self) -> str:
        if self.strength is not None:
            return f'{self.kind}, strength {self.strength:g}'
        steps = 'explicit steps' if self.steps is not None else f'step stride {self.step_stride}'
        return f'{self.noise}, {self.update} step, {steps}'


@dataclass(frozen=True)
class Denoised:
    """What :func:`denoise_` did.

    Attributes:
        layers: By layer name the denoising loss, equal to its floor, and ``||W' - W|| / ||W||``.
        levels: By layer name, how much noise was taken out, in words.
        cost: For the final embedding: what the map costs in inference, in words.
    """

    layers: dict[str, tuple[float, float]]
    levels: dict[str, str]
    cost: str | None = None
    gains = True  # nothing here says otherwise

    def save_report(self, out: Path) -> list[Path]:
        """Nothing is written beside the checkpoint."""
        return []

    def as_dict(self) -> dict[str, Any]:
        """What the final embedding's map costs, if there is one."""
        return {'cost': self.cost}

    def __str__(self) -> str:
        if self.cost is not None:
            return self.cost
        width = max(map(len, self.layers))
        sizes = {name: size for name, (_, size) in self.layers.items()}
        lines = [f"{name:<{width}}  {self.levels[name]}  loss {loss:.4f}  |W' - W| / |W| {size:.2e}"
                 for name, (loss, size) in self.layers.items()]
        return '\n'.join([*lines, describe(sizes), *filter(None, (warning_of(sizes), ))])


def denoise_(host: Host, layers: Any, moments: PassMoments, denoising: Denoising) -> Denoised:
    """Denoise a host's model as it was loaded, in place.

    Args:
        host: The model.
        layers: Selection that the moments were taken of.
        moments: What a pass has seen.
        denoising: What to take out.

    Raises:
        ValueError: if the moments are not of this model and selection, or nothing can be measured.
        FloatingPointError: naming a layer whose features or weights are not finite.
    """
    host.restore()
    if moments.model != host.fingerprint():
        raise ValueError('The moments were taken from a model of other weights: take them again.')
    if denoising.of_embedding:
        if moments.embedding is None:
            raise ValueError('The moments hold no labelled embeddings: take them with --noise '
                             'within_class or --sweep.')
        affine = class_posterior(moments.embedding, denoising.strength, host.new_classes,
                                 denoising.centred)
        return Denoised({}, {}, host.fold_embedding(affine.to(host.device)))
    prefix = f'{host.target}.' if host.target else ''
    report = convert_to_fold_(find_part(host.model, host.target), denoising.config(layers))
    level = 'step {:>4}'.format if denoising.strength is None else (
        lambda _: f'strength {denoising.strength:g}')
    names = {f'{prefix}{layer.name}': level(layer.step) for layer in report.converted}
    if names.keys() != moments.layers.keys():
        host.restore()
        odd = sorted(names.keys() ^ moments.layers.keys())
        raise ValueError(f'The moments are of another selection of layers ({", ".join(odd[:3])}): take '
                         f'them again, or with the same --layers and --target.')
    return Denoised(solve_and_fuse_(host.model, moments.layers), names)
