"""Peak memory of the forward alone and of the pass, each in a process of its own."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CASES = ('forward', 'pass', 'pass, solving and fusing')


def run(name: str, batch_size: int, size: int, work_dir: Path) -> dict[str, Any]:
    """Peaks in MB, and what the pass adds over what its moments take."""
    peaks, moments = {}, 0.0
    for case in CASES:
        output = subprocess.run(
            [sys.executable, '-m', 'benchmarks.memory', case, name, str(batch_size), str(size),
             str(work_dir)], check=True, capture_output=True, text=True,
            cwd=Path(__file__).parents[1]).stdout
        figures = json.loads(output.splitlines()[-1])
        peaks[case], moments = figures['peak'], max(moments, figures['moments'])
    return {'model': name, 'batch size': batch_size,
            **{f'{case} MB': peak for case, peak in peaks.items()}, 'moments MB': moments,
            'pass adds / moments': (peaks['pass'] - peaks['forward']) / moments}


def main(case: str, name: str, batch_size: str, size: str, work_dir: str) -> None:
    """Run one case and print its figures."""
    import torch

    from denoiserep_ext import DenoiseRepConfig
    from denoiserep_ext.core.fit.one_pass import collect_moments, convert_to_fold_, solve_and_fuse_

    from .models import backbone
    from .one_pass import moments_held
    from .timing import DEVICE
    model = backbone(name, int(size), Path(work_dir))
    images = torch.randn(int(batch_size), 3, int(size), int(size), device=DEVICE)
    numbers = 0
    with torch.no_grad():
        if case == 'forward':
            for _ in range(3):
                model(images)
        else:
            convert_to_fold_(model, DenoiseRepConfig())
            numbers = moments_held(model)
            moments = collect_moments(model, [images] * 3)
            if 'solving' in case:
                solve_and_fuse_(model, moments)
    peak = torch.cuda.max_memory_allocated() if DEVICE == 'cuda' else peak_resident()
    print(json.dumps({'peak': peak / 1e6, 'moments': numbers * 8 / 1e6}))


def peak_resident() -> int:
    """Bytes this program has had resident at most (getrusage would start from its parent)."""
    line, = (line for line in Path('/proc/self/status').read_text().splitlines()
             if line.startswith('VmHWM'))
    return int(line.split()[1]) * 1024


if __name__ == '__main__':
    main(*sys.argv[1:])
