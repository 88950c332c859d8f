"""From a finished model to a denoised file: images, choice of the setting, outputs."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.files.writing import write_json
from ..core.processes import leave_processes, process_share
from ..corruptions.names import Corruption
from . import report
from .host import Host
from .noise import Collected, Outcome, Setting, Source
from .scores import named
from .sweep import Plan, Sweep, run_sweep
from .sweep_picture import save_picture

NO_GAIN = 'No gain, no model written (--write-anyway writes the best one all the same).'


def outputs(out: Path, sweeping: bool, embedding: bool, source: Source | None = None) -> list[Path]:
    """The files that a run may write beside moments.

    Args:
        out: The checkpoint.
        sweeping: Whether a setting is chosen.
        embedding: Whether the final embedding may be denoised, which can take a config of its own.
        source: Of the noise, which may have files of its own.
    """
    files = [out]
    files += [out.with_suffix('.py'), out.with_suffix('.yml')] if embedding else []
    files += [] if source is None else source.files(out)
    return files + (_sweep_files(out) if sweeping else [])


def _sweep_files(out: Path) -> list[Path]:
    return [out.with_name(f'{out.stem}_sweep{ending}') for ending in ('.json', '.png')]


def calibrate(host: Host, out: Path | None, setting: Setting, source: Source,
              sweep: Plan | None = None) -> dict[str, Any]:
    """Denoise a host's model without training and write it as plain weights.

    In a process group all processes share the images, and the first one does the rest.

    Args:
        host: Model, images and evaluator.
        out: File to write; None for a share of a pass.
        setting: What to take out and how; with a sweep it is chosen there.
        source: Where the noise comes from.
        sweep: Settings to choose from on validation images, or None.

    Returns:
        Figures of the run.

    Raises:
        ValueError, FloatingPointError: see what is called; nothing is written then.
    """
    source.check(host, setting, sweep is not None)
    collected = source.collect(host, [setting.noise] if sweep is None else sweep.noises)
    fits = sweep is None and not source.partial and out is not None
    done = collected.denoise_(setting) if fits else None
    rank, _ = process_share()
    leave_processes()  # evaluators would wait for the others
    if rank > 0:
        return {}
    figures: dict[str, Any] = {'images': collected.images}
    if source.partial or out is None:
        return figures
    if sweep is None:
        return {**figures, **_write(host, out, setting, done)}
    result = run_sweep(host, collected, sweep)
    best = result.best.setting
    figures.update(split=host.split, **report.figures(result))
    print(f'\nvalidation: {host.split}\n{report.table(result)}\n\n{result.verdict}')
    figures['test'] = _test(host, collected, best, sweep.conditions)
    # Before what is told of the sweep: an interrupted run leaves nothing behind that the next one would
    # refuse to replace.
    written = {}
    if result.gains or sweep.write_anyway:
        written = _write(host, out, best, collected.denoise_(best), anyway=True)
    else:
        print(NO_GAIN)
    _save_sweep(result, figures, out)
    return {**figures, **written}


def _write(host: Host, out: Path, setting: Setting, done: Outcome, anyway: bool = False
           ) -> dict[str, Any]:
    """Write the present model, unless it gains nothing, and what its noise tells of it."""
    files = host.save(out) if done.gains or anyway else []
    beside = done.save_report(out)
    print(f'{setting}:\n{done}')
    if beside:
        print(f'figures and picture: {", ".join(map(str, beside))}')
    if not files:
        print(NO_GAIN)
        return {}
    print(f'wrote {", ".join(map(str, files))}: plain weights for the stock '
          f'{"config beside them" if len(files) > 1 else "config"}')
    return {'denoising': str(setting), 'files': [str(file) for file in files], **done.as_dict()}


def _save_sweep(result: Sweep, figures: dict[str, Any], out: Path) -> None:
    data, picture = _sweep_files(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(figures, data)
    save_picture(result, picture, out.stem)
    print(f'figures and picture: {data}, {picture}')


def _test(host: Host, collected: Collected, chosen: Setting,
          conditions: Sequence[Corruption | None]) -> dict[str, Any]:
    """Plain and chosen model on the test set, which nothing before has used."""
    def scores() -> dict[str, float]:
        return {name: value for corruption in conditions
                for name, value in named(host.test(corruption), corruption).items()}

    host.restore()
    plain = scores()
    collected.denoise_(chosen)
    ours = scores()
    host.restore()
    print(f'\ntest set, {chosen}:')
    width = max(24, *map(len, plain))
    for name in plain:
        print(f'  {name:<{width}} plain {plain[name]:>9.4f}   denoised {ours[name]:>9.4f}   '
              f'{ours[name] - plain[name]:>+9.4f}')
    return {'plain': plain, 'denoised': ours}
