"""What corruptions are called, and specifications of them: ``jpeg_compression@3``."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..core.checks import is_integer

_FAMILIES = {
    'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise'),
    'blur': ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    'weather': ('snow', 'frost', 'fog', 'brightness'),
    'digital': ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
}
BENCHMARK = tuple(name for family in _FAMILIES.values() for name in family)
HOLDOUT = ('speckle_noise', 'gaussian_blur', 'spatter', 'saturate')
ALL = BENCHMARK + HOLDOUT
GROUPS = {'all': ALL, 'benchmark': BENCHMARK, 'holdout': HOLDOUT, **_FAMILIES}
SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One way of making images worse.

    The names and severities are those of Hendrycks and Dietterich, *Benchmarking Neural Network
    Robustness to Common Corruptions and Perturbations*, ICLR 2019: 15 that benchmarks are made of and
    4 more to choose settings on.

    Args:
        name: One of ``ALL``.
        severity: 1 to 5.

    Raises:
        ValueError: for an unknown name, with the known ones, or a severity that there is not.
    """

    name: str
    severity: int

    def __post_init__(self) -> None:
        if self.name not in ALL:
            raise ValueError(f'Unknown corruption {self.name!r}: choose {", ".join(ALL)}.')
        if not is_integer(self.severity, 1) or self.severity > SEVERITIES[-1]:
            raise ValueError(f'{self.name} has no severity {self.severity!r}: choose 1 (light) to '
                             f'{SEVERITIES[-1]} (heavy).')

    def __str__(self) -> str:
        return f'{self.name}@{self.severity}'


def parse(specification: str, severity: int | None = None) -> Corruption:
    """Read ``NAME@SEVERITY``.

    Args:
        specification: Text such as ``'fog@2'``.
        severity: What a name alone stands for; None: it must be said.

    Raises:
        ValueError: see :class:`Corruption`, or if the severity is missing or no number.
    """
    name, at, number = specification.partition('@')
    if not at:
        if severity is None:
            Corruption(name, 1)  # an unknown name is the first thing to say
            raise ValueError(f'{specification!r} names no severity: write {name}@3, say.')
        return Corruption(name, severity)
    if not number.isdecimal():
        raise ValueError(f'{specification!r}: the severity must be a number from 1 to {SEVERITIES[-1]}, '
                         f'as in {name or "fog"}@3.')
    return Corruption(name, int(number))


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Names of corruptions for names and groups of them, each once, in the order given.

    Raises:
        ValueError: for a name that is neither, with the known ones; if there is none at all.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in GROUPS and name not in ALL:
            raise ValueError(f'Unknown corruption {name!r}: choose from {", ".join(ALL)}, or a group: '
                             f'{", ".join(GROUPS)}.')
        found.update(dict.fromkeys(GROUPS.get(name, (name, ))))
    if not found:
        raise ValueError('No corruption is named.')
    return tuple(found)


def from_words(words: Iterable[str], severities: Sequence[int]) -> tuple[Corruption, ...]:
    """Corruptions of a command line, each once, in the order given.

    Args:
        words: ``NAME@SEVERITY``, or a name or group, which stands for all of ``severities``.
        severities: 1 to 5.

    Raises:
        ValueError: see :func:`parse` and :func:`expand`.
    """
    found: dict[Corruption, None] = {}
    for word in words:
        if '@' in word:
            found[parse(word)] = None
        else:
            found.update(dict.fromkeys(Corruption(name, severity) for name in expand([word])
                                       for severity in severities))
    return tuple(found)
