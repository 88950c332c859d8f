"""The comparison tool on a FastReID config, run for real."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('fastreid')

from denoiserep_ext.compare.fastreid import FastReID  # noqa: E402
from denoiserep_ext.datasets.retrieval import write_retrieval  # noqa: E402

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs/fastreid/digits'


def test_control_is_the_inner_architecture():
    host = FastReID()
    config = host.read_config(CONFIGS / 'osnet_x0-25_denoiserep-joint.yml', {'SOLVER.MAX_EPOCH': 7})
    control = host.control(config)
    assert control.MODEL.META_ARCHITECTURE == 'Baseline' and control.SOLVER.MAX_EPOCH == 7
    control.MODEL.META_ARCHITECTURE = 'DenoiseRep'
    assert control == config
    with pytest.raises(ValueError, match='Did you mean SOLVER.MAX_EPOCH'):
        host.read_config(CONFIGS / 'osnet_x0-25.yml', {'SOLVER.MAX_EPOCHS': 7})
    with pytest.raises(ValueError, match='has no DenoiseRep'):
        host.control(host.read_config(CONFIGS / 'osnet_x0-25.yml', {}))
    with pytest.raises(ValueError, match='trains nothing, so no training can be compared'):
        host.read_config(CONFIGS / 'osnet_x0-25_denoiserep-frozen-corruption.yml', {})


@pytest.mark.slow
@pytest.mark.matrix
def test_a_real_comparison_and_its_restart(tmp_path):
    write_retrieval(tmp_path / 'data/retrieval')
    command = [
        sys.executable, '-W', 'ignore', ROOT / 'tools/compare.py',
        CONFIGS / 'osnet_x0-25_denoiserep-joint.yml', '--baseline', CONFIGS / 'osnet_x0-25.yml',
        '--seeds', '0', '--metric', 'mAP', '--work-dir', tmp_path / 'out', '--jobs', '2',
        '--cfg-options', 'SOLVER.MAX_EPOCH=1']

    def run():
        result = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout

    first = run()
    for words in ('control (as long, no DenoiseRep)', 'DenoiseRep, fused', 'Rank-1', 'mINP',
                  'inference time', 'no statement about noise'):
        assert words in first
    folder = tmp_path / 'out/osnet_x0-25_denoiserep-joint'
    report = json.loads((folder / 'comparison.json').read_text())
    assert [r['row'] for r in report['results']] == ['baseline', 'control', 'denoiserep']
    assert report['costs']['fused_against_unfused'] < 1e-4
    fused, stock = report['costs']['operators']
    assert fused == stock > 100
    assert (tmp_path / 'out/comparison.png').stat().st_size > 10_000
    stamps = {p: p.stat().st_mtime_ns for p in folder.glob('seed0/*/result.json')}
    assert 'as before' in run()
    assert stamps == {p: p.stat().st_mtime_ns for p in folder.glob('seed0/*/result.json')}
