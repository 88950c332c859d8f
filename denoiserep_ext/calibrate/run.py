"""From a finished model to a denoised file: pass, choice of the strength, outputs."""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.files.writing import write_json
from ..core.fit.one_pass import TOKENS
from ..core.layer.conversion import convert_
from ..core.layer.fusion import unconvert_
from ..core.layer.selection import find_part
from ..core.processes import leave_processes, process_share
from . import report
from .denoising import Denoising, denoise_
from .host import Host
from .passing import PassMoments, run_pass
from .sweep import STRENGTHS, Sweep, run_sweep


@dataclass(frozen=True)
class PassOptions:
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
            raise ValueError(f'share {index}/{of} is none: give K/N with K from 1 to N.')
        if of > 1 and (self.read or self.write is None):
            raise ValueError('A share of the pass is good for its moments alone: name the file to write '
                             'them to, and merge the files of all shares afterwards.')

    @property
    def partial(self) -> bool:
        """Whether other machines run the rest of the pass."""
        return self.share[1] > 1


@dataclass(frozen=True)
class SweepOptions:
    """Strengths to try on validation images.

    Args:
        noises: Kinds of noise.
        strengths: Noise levels, above 0.
        write_anyway: Write the best one even if it gains nothing.
    """

    noises: Sequence[str]
    strengths: Sequence[float] = STRENGTHS
    write_anyway: bool = False

    def __post_init__(self) -> None:
        if not self.strengths or min(self.strengths) <= 0:
            raise ValueError('strengths must be above 0: the plain model is scored in any case.')
        for noise in self.noises:
            for strength in self.strengths:
                Denoising(noise, strength)


def outputs(out: Path, sweeping: bool, embedding: bool) -> list[Path]:
    """The files that a run may write beside moments.

    Args:
        out: The checkpoint.
        sweeping: Whether a strength is chosen.
        embedding: Whether the final embedding may be denoised, which can take a config of its own.
    """
    files = [out]
    files += [out.with_suffix('.py'), out.with_suffix('.yml')] if embedding else []
    return files + ([_beside(out, 'sweep.json'), _beside(out, 'sweep.png')] if sweeping else [])


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f'{out.stem}_{ending}')


def calibrate(host: Host, out: Path | None, denoising: Denoising, options: PassOptions,
              sweep: SweepOptions | None = None) -> dict[str, Any]:
    """Denoise a host's model in one pass and write it as plain weights.

    In a process group all processes share the pass, and the first one does the rest.

    Args:
        host: Model, images and evaluator.
        out: File to write; None for a share of the pass.
        denoising: What to take out; with a sweep it is chosen there.
        options: Of the pass.
        sweep: Strengths to choose from on validation images, or None.

    Returns:
        Figures of the run.

    Raises:
        ValueError, FloatingPointError: see what is called; nothing is written then.
    """
    noises = [denoising.noise] if sweep is None else sweep.noises
    if sweep is None and denoising.centred and not host.centres:
        raise ValueError('A classifier needs its input where it was: leave the mean out of features '
                         '(place features), or not at all.')
    if sweep is None and not denoising.of_embedding:
        # A selection or steps that cannot be are found before the pass, not after it.
        convert_(find_part(host.model, host.target), denoising.config(host.layers))
        unconvert_(host.model)
    rank, _ = process_share()
    moments = _moments(host, options, noises)
    leave_processes()  # evaluators would wait for the others
    if rank > 0:
        return {}
    if options.write is not None:
        moments.save(options.write)
        print(f'moments of {moments.images} images: {options.write}')
    if options.partial or out is None:
        return {'images': moments.images}
    chosen, figures = denoising, {'images': moments.images}
    if sweep is not None:
        result = run_sweep(host, host.layers, moments, noises, sweep.strengths)
        figures.update(split=host.split, **report.figures(result))
        print(f'\nvalidation: {host.split}\n{report.table(result)}\n\n{result.verdict}')
        chosen = result.best.denoising
        figures['test'] = _test(host, moments, chosen, result)
    files = []
    if sweep is None or result.gains or sweep.write_anyway:
        # Before what is told of it: an interrupted run leaves nothing behind that the next one would
        # refuse to replace.
        done = denoise_(host, host.layers, moments, chosen)
        files = host.save(out)
    if sweep is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(figures, _beside(out, 'sweep.json'))
        report.save_picture(result, _beside(out, 'sweep.png'), out.stem)
        print(f'figures and picture: {_beside(out, "sweep.json")}, {_beside(out, "sweep.png")}')
    if not files:
        print('No gain, no model written (--write-anyway writes the best one all the same).')
        return figures
    figures.update(denoising=str(chosen), cost=done.cost, files=[str(file) for file in files])
    print(f'{chosen}:\n{done}\nwrote {", ".join(map(str, files))}: plain weights for the stock '
          f'{"config beside them" if len(files) > 1 else "config"}')
    return figures


def _moments(host: Host, options: PassOptions, noises: Sequence[str]) -> PassMoments:
    if options.read:
        moments = PassMoments.read(options.read[0])
        for path in options.read[1:]:
            moments.merge_(PassMoments.read(path))
        return moments
    selection = None if set(noises) == {'within_class'} else host.layers
    start = time.perf_counter()
    moments = run_pass(host, selection, 'within_class' in noises, options.tokens, options.seed,
                       (options.share[0] - 1, options.share[1]))
    if process_share()[0] == 0:
        print(f'one pass over {moments.images} images: {time.perf_counter() - start:.1f} s')
    return moments


def _test(host: Host, moments: PassMoments, chosen: Denoising, sweep: Sweep) -> dict[str, Any]:
    """Plain and chosen model on the test set, which nothing before has looked at."""
    host.restore()
    plain = host.test()
    denoise_(host, host.layers, moments, chosen)
    ours = host.test()
    host.restore()
    print(f'\ntest set, {chosen}:')
    for name in plain:
        print(f'  {name:<24} plain {plain[name]:>9.4f}   denoised {ours[name]:>9.4f}   '
              f'{ours[name] - plain[name]:>+9.4f}')
    return {'plain': plain, 'denoised': ours}
