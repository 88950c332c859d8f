"""Reading checkpoints safely, and the fuse tool."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext.core.files.export import export_plain
from denoiserep_ext.core.files.reading import read_checkpoint
from tests.mm.helpers import classifier_config, equal, train, weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def run(tmp_path_factory, digits, baseline):
    folder = tmp_path_factory.mktemp('run')
    train(classifier_config(folder, digits, load_from=baseline(), epochs=1, hook={}))
    return folder / 'epoch_1.pth'


def test_real_checkpoints_are_read_safely(run, baseline):
    for path in (run, baseline()):
        state = read_checkpoint(path)['state_dict']
        assert equal(state, weights(path))


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path('/tmp/denoiserep-ext-was-here'), ))


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    torch.save({'state_dict': {}, 'trap': Malicious()}, tmp_path / 'bad.pth')
    with pytest.raises(ValueError, match='cannot be read safely.*allow unsafe'):
        read_checkpoint(tmp_path / 'bad.pth')
    assert not Path('/tmp/denoiserep-ext-was-here').exists()


def fuse(*arguments):
    return subprocess.run([sys.executable, ROOT / 'tools/fuse.py', *map(str, arguments)],
                          capture_output=True, text=True)


def test_fuse_writes_plain_weights_once(run, tmp_path):
    out = tmp_path / 'sub/fused.pth'
    result = fuse(run, out)
    assert result.returncode == 0, result.stderr
    assert '4 denoised layers fused' in result.stdout
    file = torch.load(out, weights_only=True)
    assert set(file) == {'meta', 'state_dict'} and equal(file['state_dict'], weights(run))
    again = fuse(run, out)
    assert again.returncode and 'exists: remove it or choose another name' in again.stderr
    assert not list(tmp_path.glob('**/*.partial'))


def test_fuse_names_what_is_wrong(tmp_path, baseline):
    for source, message in ((tmp_path / 'none.pth', 'no such checkpoint'),
                            (baseline(), 'was not written by a DenoiseRep training')):
        result = fuse(source, tmp_path / 'out.pth')
        assert result.returncode and message in result.stderr
        assert 'Traceback' not in result.stderr
    (tmp_path / 'text.pth').write_text('hello')
    with pytest.raises(ValueError, match='text.pth is damaged or not a checkpoint'):
        export_plain(tmp_path / 'text.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()
