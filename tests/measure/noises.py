"""What the three kinds of noise do to a finished model: a strength of each chosen on validation images,
scored on test images."""
from __future__ import annotations

from denoiserep_ext.calibrate import report
from denoiserep_ext.calibrate.denoising import NOISES, Denoising
from denoiserep_ext.calibrate.host import Host
from denoiserep_ext.calibrate.one_pass import OnePass
from denoiserep_ext.calibrate.passing import run_pass
from denoiserep_ext.calibrate.plans import SweepOptions
from denoiserep_ext.calibrate.sweep import Sweep, best_of, run_sweep

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def measure(host: Host) -> None:
    """Print validation curves, and test scores of the plain model, of the best strength of each noise on
    validation, and of the paper's steps."""
    seen = OnePass(host, run_pass(host, host.layers, embedding=True, tokens=32, seed=0))
    sweep = run_sweep(host, seen, SweepOptions(NOISES, STRENGTHS))
    print(f'moments of {seen.images} images; validation: {host.split}\n{report.table(sweep)}')
    print(sweep.verdict)
    kinds = dict.fromkeys(point.setting.kind for point in sweep.points)
    chosen = [best(sweep, kind) for kind in kinds]
    if host.centres:
        # Leaving the mean out is no denoising: what it does alone is the control.
        chosen.append(Denoising('within_class', 0.0, centred=True))
    chosen += [Denoising(noise, step_stride=stride) for noise in ('unit', 'relative')
               for stride in (1, 4)]
    host.restore()
    print(f'test, plain: {_words(host.test())}')
    for denoising in chosen:
        seen.denoise_(denoising)
        print(f'test, {denoising}: {_words(host.test())}', flush=True)
    host.restore()


def best(sweep: Sweep, kind: str) -> Denoising:
    """The denoising of a kind that scores best on validation, of equal ones the weakest."""
    points = [point for point in sweep.points if point.setting.kind == kind]
    return best_of(points).setting


def _words(metrics: dict[str, float]) -> str:
    return ', '.join(f'{name} {value:.2f}' for name, value in metrics.items())
