"""What a host's config says of noise that is shown."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..core.checks import integer
from ..core.fit.learning_options import LearningOptions
from ..core.layer.config import DenoiseRepConfig
from ..core.pairs.config import PairConfig
from ..corruptions.names import Corruption, from_words

NOISE = 'corruption'
SEVERITY = 3  # of names that come without one
IMAGES = 1024


def _names(options: type) -> set[str]:
    return {field.name for field in fields(options)}


NAMES = ({'corruptions', 'severity', 'images'} | _names(PairConfig)) - {'judge'}  # the host's to say
# What other kinds of noise have no use for, and the other way round.
ONLY = NAMES - _names(DenoiseRepConfig)
OF_OTHERS = (_names(DenoiseRepConfig) | _names(LearningOptions) | {'period', 'optimizer'}) - NAMES


@dataclass(frozen=True)
class ShownNoise:
    """Corruptions to make images worse with, and settings of the walk.

    Args:
        corruptions: In the order of the report.
        images: Unlabelled images that are drawn (>= 1); None for all there are.
        config: The walk's; parts of the model and the judge's measure are the host's to say.
    """

    corruptions: tuple[Corruption, ...]
    images: int | None
    config: PairConfig

    @property
    def worse(self) -> tuple[str, ...]:
        """What the worse images are, in words."""
        return tuple(map(str, self.corruptions))


def shown_noise(options: Mapping[str, Any], also: Collection[str] = ()) -> ShownNoise:
    """Read the options of noise that is shown.

    Args:
        options: ``corruptions``, a list of names, ``NAME@SEVERITY`` or groups; ``severity`` of names
            without one (default 3); ``images`` (default 1024, None for all); settings of
            :class:`~denoiserep_ext.PairConfig`.
        also: Names that the caller takes itself, for the error message.

    Raises:
        ValueError: naming an option that is unknown, of another kind of noise, or out of range.
    """
    for name in options:
        if name in OF_OTHERS:
            raise ValueError(f'{name} belongs to noise that is assumed (unit, relative), not to '
                             f"noise='{NOISE}'.")
    unknown = sorted(set(options) - NAMES)
    if unknown:
        raise ValueError(f"Unknown option {', '.join(map(repr, unknown))} of noise='{NOISE}'; there are "
                         f"{', '.join(sorted({*NAMES, *also}))}.")
    own = dict(options)
    words, severity = own.pop('corruptions', ()), own.pop('severity', SEVERITY)
    images = own.pop('images', IMAGES)
    if not isinstance(words, Sequence) or isinstance(words, str) or not words or not all(
            isinstance(word, str) for word in words):
        raise ValueError(f"noise='{NOISE}' needs corruptions, a list of what makes images worse, as in "
                         f"['gaussian_noise@3', 'jpeg_compression@3']; got {words!r}.")
    images = None if images is None else integer('images', images, 1)
    return ShownNoise(from_words(words, [severity]), images, PairConfig(**own))


def refuse_shown(options: Collection[str], noise: str) -> None:
    """See that nothing is said of noise that is shown where the noise is another one.

    Raises:
        ValueError: naming an option.
    """
    for name in options:
        if name in ONLY:
            raise ValueError(f"{name} belongs to noise='{NOISE}', not to {noise!r}.")
