"""What the three kinds of noise do to a finished model: a strength of each chosen on validation images,
scored on test images."""
from __future__ import annotations

from denoiserep_ext.calibrate import report
from denoiserep_ext.calibrate.denoising import NOISES, Denoising, denoise_
from denoiserep_ext.calibrate.host import Host
from denoiserep_ext.calibrate.passing import run_pass
from denoiserep_ext.calibrate.sweep import Sweep, run_sweep

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def measure(host: Host) -> None:
    """Print validation curves, and test scores of the plain model, of the best strength of each noise on
    validation, and of the paper's steps."""
    moments = run_pass(host, host.layers, embedding=True, tokens=32, seed=0)
    sweep = run_sweep(host, host.layers, moments, NOISES, STRENGTHS)
    print(f'moments of {moments.images} images; validation: {host.split}\n{report.table(sweep)}')
    print(sweep.verdict)
    kinds = dict.fromkeys(point.denoising.kind for point in sweep.points)
    chosen = [best(sweep, kind) for kind in kinds]
    if host.centres:
        # Leaving the mean out is no denoising: what it does alone is the control.
        chosen.append(Denoising('within_class', 0.0, centred=True))
    chosen += [Denoising(noise, step_stride=stride) for noise in ('unit', 'relative')
               for stride in (1, 4)]
    host.restore()
    print(f'test, plain: {_words(host.test())}')
    for denoising in chosen:
        denoise_(host, host.layers, moments, denoising)
        print(f'test, {denoising}: {_words(host.test())}', flush=True)
    host.restore()


def best(sweep: Sweep, kind: str) -> Denoising:
    """The denoising of a kind that scores best on validation, of equal ones the weakest."""
    points = [point for point in sweep.points if point.denoising.kind == kind]
    return max(points, key=lambda p: (p.scores.value, -p.denoising.strength)).denoising


def _words(metrics: dict[str, float]) -> str:
    return ', '.join(f'{name} {value:.2f}' for name, value in metrics.items())
