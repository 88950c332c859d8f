"""What the three kinds of noise do to a finished model: a strength of each chosen on validation images,
scored on test images."""
from __future__ import annotations

from denoiserep_ext.calibrate import report
from denoiserep_ext.calibrate.denoising import NOISES, Denoising, denoise_
from denoiserep_ext.calibrate.host import Host
from denoiserep_ext.calibrate.passing import run_pass
from denoiserep_ext.calibrate.sweep import run_sweep

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def measure(host: Host) -> None:
    """Print validation curves, and test scores of the plain model, of the best strength of each noise on
    validation, and of the paper's steps."""
    moments = run_pass(host, host.layers, embedding=True, tokens=32, seed=0)
    sweep = run_sweep(host, host.layers, moments, NOISES, STRENGTHS)
    print(f'moments of {moments.images} images; validation: {host.split}\n{report.table(sweep)}')
    print(sweep.verdict)
    chosen = [max((p for p in sweep.points if p.denoising.noise == noise),
                  key=lambda p: (p.scores.value, -p.denoising.strength)).denoising for noise in NOISES]
    chosen += [Denoising(noise, step_stride=stride) for noise in ('unit', 'relative')
               for stride in (1, 4)]
    host.restore()
    print(f'test, plain: {_words(host.test())}')
    for denoising in chosen:
        denoise_(host, host.layers, moments, denoising)
        print(f'test, {denoising}: {_words(host.test())}', flush=True)
    host.restore()


def _words(metrics: dict[str, float]) -> str:
    return ', '.join(f'{name} {value:.2f}' for name, value in metrics.items())
