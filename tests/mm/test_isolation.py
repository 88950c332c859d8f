"""What leaves a run needs nothing of ours: stock config, stock program, package out of reach."""
import json
import os
import subprocess
import sys
from pathlib import Path

from denoiserep_ext.core.files.export import export_plain
from tests.mm.helpers import classifier_config, train

# A finder that refuses our package, loaded before anything else through sitecustomize.
BLOCK = '''
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'denoiserep_ext':
            raise ImportError('denoiserep_ext is out of reach in this test')
sys.meta_path.insert(0, Block())
'''


def test_fused_file_scores_the_same_through_mim_test_without_this_package(
        tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path / 'run', digits, load_from=baseline(),
                            hook=dict(update='posterior', step_stride=10, noise='relative'))
    live = train(cfg).message_hub.get_scalar('val/accuracy/top1').current()
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site/sitecustomize.py').write_text(BLOCK)
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path / 'site')}
    probe = subprocess.run([sys.executable, '-c', 'import denoiserep_ext'], env=environment,
                           cwd=tmp_path, capture_output=True, text=True)
    assert probe.returncode and 'out of reach' in probe.stderr

    stock = classifier_config(tmp_path / 'stock', digits)
    stock.dump(tmp_path / 'stock.py')
    assert 'denoiserep' not in (tmp_path / 'stock.py').read_text()
    plain = tmp_path / 'fused.pth'
    export_plain(tmp_path / 'run/epoch_2.pth', plain)
    mim = Path(sys.executable).with_name('mim')
    for number, checkpoint in enumerate((tmp_path / 'run/epoch_2.pth', plain)):
        work_dir = tmp_path / f'test{number}'
        result = subprocess.run(
            [mim, 'test', 'mmpretrain', str(tmp_path / 'stock.py'), '--checkpoint', str(checkpoint),
             '--work-dir', str(work_dir)], env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
        scores = json.loads(next(work_dir.glob('*/*.json')).read_text())
        assert scores['accuracy/top1'] == live
