"""Moments as the source of noise: where they come from and go to."""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.fit.one_pass import TOKENS
from ..core.layer.conversion import convert_
from ..core.layer.fusion import unconvert_
from ..core.layer.selection import find_part
from ..core.processes import process_share
from .denoising import Denoised, Denoising, denoise_
from .host import Host
from .noise import Collected, Source
from .passing import PassMoments, run_pass


@dataclass(frozen=True)
class PassOptions(Source):
    """Where moments come from and go to.

    Args:
        tokens: Feature vectors per image and layer; None for all.
        seed: Seed of their choice.
        share: ``(k, n)``: this machine runs share k (1..n) of the pass and only saves its moments.
        read: Files of moments to merge instead of a pass.
        write: File to write the moments to.
    """

    tokens: int | None = TOKENS
    seed: int = 0
    share: tuple[int, int] = (1, 1)
    read: Sequence[Path] = ()
    write: Path | None = None

    def __post_init__(self) -> None:
        if self.tokens is not None and self.tokens < 1:
            raise ValueError(f'tokens must be at least 1, got {self.tokens}.')
        index, of = self.share
        if not 1 <= index <= of:
            raise ValueError(f'share {index}/{of} is out of range: give K/N with K from 1 to N.')
        if of > 1 and (self.read or self.write is None):
            raise ValueError('A share of the pass is good for its moments alone: name the file to write '
                             'them to, and merge the files of all shares afterwards.')

    @property
    def partial(self) -> bool:
        """Whether other machines run the rest of the pass."""
        return self.share[1] > 1

    def check(self, host: Host, setting: Denoising, sweeping: bool) -> None:
        """A selection or steps that cannot be are found before the pass, not after it."""
        if sweeping:
            return
        if setting.centred and not host.centres:
            raise ValueError('A classifier needs its input where it was: leave the mean out of features '
                             '(place features), or not at all.')
        if not setting.of_embedding:
            convert_(find_part(host.model, host.target), setting.config(host.layers))
            unconvert_(host.model)

    def collect(self, host: Host, noises: Sequence[str]) -> OnePass:
        """Take the moments in one pass, or read them; write them if asked to."""
        moments = self._read() if self.read else self._run(host, noises)
        if self.write is not None and process_share()[0] == 0:
            moments.save(self.write)
            print(f'moments of {moments.images} images: {self.write}')
        return OnePass(host, moments)

    def _read(self) -> PassMoments:
        moments = PassMoments.read(self.read[0])
        for path in self.read[1:]:
            moments.merge_(PassMoments.read(path))
        return moments

    def _run(self, host: Host, noises: Sequence[str]) -> PassMoments:
        selection = None if set(noises) == {'within_class'} else host.layers
        start = time.perf_counter()
        moments = run_pass(host, selection, 'within_class' in noises, self.tokens, self.seed,
                           (self.share[0] - 1, self.share[1]))
        if process_share()[0] == 0:
            print(f'one pass over {moments.images} images: {time.perf_counter() - start:.1f} s')
        return moments


class OnePass(Collected):
    """Moments of a host's images.

    Args:
        host: The model.
        moments: Of its features.
    """

    def __init__(self, host: Host, moments: PassMoments) -> None:
        self.host, self.moments, self.images = host, moments, moments.images

    def denoise_(self, setting: Denoising) -> Denoised:
        return denoise_(self.host, self.host.layers, self.moments, setting)
