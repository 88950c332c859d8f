"""Noise that is shown: images and worse versions of them, and what a walk through the layers makes of
them."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..core.files.writing import write_json
from ..core.layer.selection import select
from ..core.pairs.config import PairConfig
from ..core.pairs.report import PairReport
from ..core.pairs.walk import denoise_pairs_
from ..core.processes import process_share, several_processes
from ..corruptions.names import Corruption
from ..pairs.picture import save_picture
from .host import Host
from .noise import Collected, Source
from .pair_loading import PairLoader

NOISE = 'corruption'


@dataclass(frozen=True)
class PairDenoising:
    """Settings of a walk; parts of the model and the judge's measure are the host's to say.

    Args:
        config: The settings.
    """

    config: PairConfig = PairConfig()
    noise = NOISE

    def but(self, **settings: Any) -> PairDenoising:
        """The same with other settings."""
        return PairDenoising(replace(self.config, **settings))

    @property
    def kind(self) -> str:
        """The noise, and the form of the fit where it is not the usual one."""
        return NOISE if self.config.form == 'patch' else f'{NOISE}, {self.config.form}'

    @property
    def level(self) -> str:
        """What a sweep varies."""
        ridge = self.config.ridge
        return (f'clean weight {self.config.clean_weight:g}, '
                f'ridge {ridge if ridge == "auto" else f"{ridge:g}"}, damping {self.config.damping:g}')

    @property
    def caution(self) -> tuple[float, ...]:
        """More weight to clean images, a smaller step, a stronger pull to the trained weights."""
        ridge = 0.0 if self.config.ridge == 'auto' else self.config.ridge
        return self.config.clean_weight, -self.config.damping, ridge

    def as_dict(self) -> dict[str, Any]:
        """What a sweep varies, as plain data."""
        return {'noise': NOISE, 'form': self.config.form, 'clean_weight': self.config.clean_weight,
                'ridge': self.config.ridge, 'damping': self.config.damping}

    def __str__(self) -> str:
        return f'{self.kind}, {self.level}'


@dataclass(frozen=True)
class PairDenoised:
    """What a walk did.

    Attributes:
        report: Layer by layer, and the judge's verdict.
        config: All settings of the walk.
        worse: In words, in the order of the report: what the worse images are.
        judged: Whether the judge was asked; otherwise the model counts as worth a file.
    """

    report: PairReport
    config: PairConfig
    worse: tuple[str, ...]
    judged: bool = True
    cost = None

    @property
    def gains(self) -> bool:
        """Whether the walk changed the model, or its judge was not to be heard."""
        return self.report.accepted or not self.judged

    def save_report(self, out: Path) -> list[Path]:
        """JSON and picture beside the checkpoint."""
        data, picture = report_files(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(_strict(self.as_dict()), data)
        save_picture(self.report, picture, f'{out.stem}: {", ".join(self.worse)}')
        return [data, picture]

    def as_dict(self) -> dict[str, Any]:
        """Settings, layers and verdict."""
        return {'worse': list(self.worse), 'config': asdict(self.config),
                'denoised': self.report.accepted, **self.report.as_dict()}

    def __str__(self) -> str:
        worse = ', '.join(f'{number}: {name}' for number, name in enumerate(self.worse, start=1))
        return f'{self.report}\nworse images: {worse}'


@dataclass(frozen=True)
class PairOptions(Source):
    """Where worse images come from.

    Args:
        corruptions: What makes images worse; none if the host has a folder of worse ones.
        seed: Seed of the corruptions.
        write_anyway: Where the judge finds no gain, fit once more without it.
    """

    corruptions: Sequence[Corruption] = ()
    seed: int = 0
    write_anyway: bool = False

    def check(self, host: Host, setting: PairDenoising, sweeping: bool) -> None:
        """Selection, pairs and processes, before images are read."""
        if bool(self.corruptions) == host.has_worse:
            raise ValueError('Corruption noise needs either names of corruptions or a folder of worse '
                             'images, and not both.')
        if sweeping and several_processes():
            raise ValueError('A sweep of corruption noise scores every walk before it plans the next '
                             'one, so it runs in one process: leave out torchrun.')
        select(host.model, host.selection)
        if setting.config.held_out:
            least = math.ceil(1 / setting.config.held_out)
            rank, processes = process_share()
            own = sum(map(len, host.batches()[rank::processes]))
            if own < least:
                raise ValueError(f'{own} images in a process are too few for a judge that keeps '
                                 f'{setting.config.held_out:g} of them: give at least {least}, fewer '
                                 f'processes, or --held-out 0.')

    def collect(self, host: Host, noises: Sequence[str]) -> Walks:
        """Nothing beforehand: every walk reads its images itself. One image is tried."""
        loader = PairLoader(host, self.corruptions, self.seed)
        loader.probe()
        return Walks(host, self, loader)

    def files(self, out: Path) -> list[Path]:
        return report_files(out)


def report_files(out: Path) -> list[Path]:
    """JSON and picture of a walk."""
    return [out.with_name(f'{out.stem}_pairs{ending}') for ending in ('.json', '.png')]


class Walks(Collected):
    """Walks through a host's model, each with the same pairs.

    Args:
        host: The model.
        options: Where worse images come from.
        loader: The pairs.
    """

    def __init__(self, host: Host, options: PairOptions, loader: PairLoader) -> None:
        self.host, self.options, self.loader = host, options, loader
        self.images = len(host.order)
        self._done: dict[PairDenoising, tuple[dict, PairDenoised]] = {}

    def denoise_(self, setting: PairDenoising) -> PairDenoised:
        """A walk; one that has been gone before is not gone again."""
        self.host.restore()
        if setting not in self._done:
            done = self._walk(setting)
            if not done.gains and self.options.write_anyway and setting.config.held_out:
                tqdm.write(f'{done}\nfitted once more, without the judge:')
                done = replace(self._walk(setting.but(held_out=0.0)), judged=False)
            self._done[setting] = self.host.changes(), done
        changed, done = self._done[setting]
        self.host.put(changed)
        return done

    def _walk(self, setting: PairDenoising) -> PairDenoised:
        config = replace(setting.config, layers=self.host.selection, judge=self.host.judge)
        with _Bar() as bar:
            report = denoise_pairs_(self.host.model, self.loader, config, self.host.outputs, bar.show)
        return PairDenoised(report, config, self.loader.worse)


class _Bar:
    """How far a walk has got, from the moment its images have been read."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def show(self, share: float, text: str) -> None:
        """Take the share done, and what is being done."""
        if self._bar is None:
            self._bar = tqdm(
                total=1.0, desc='denoising', disable=process_share()[0] > 0, smoothing=0, leave=False,
                bar_format='{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}')
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(share - self._bar.n)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _strict(value: Any) -> Any:
    """Plain data with what JSON has no number for in words."""
    if isinstance(value, dict):
        return {key: _strict(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
