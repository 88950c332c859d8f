"""The command line: training, evaluation, resuming, two processes, one pass, errors."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext.core.files.plain import KEY
from denoiserep_ext.core.fit.one_pass import fit_one_pass_
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.reid import Trainer
from denoiserep_ext.reid.one_pass import images_below
from denoiserep_ext.reid.train_net import run
from tests.reid.helpers import EPOCH, assert_same_state, load, reid_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config_file(tmp_path, digits):
    file = tmp_path / 'config.yml'
    file.write_text(reid_config(tmp_path / 'out', digits).dump())
    return str(file)


def train_net(*args, **environment):
    """Run the module in a process of its own; return its output."""
    done = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'denoiserep_ext.reid.train_net', *args],
                          capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def scores(output):
    """mAP of each evaluation in the log."""
    return re.findall(r'\| Market1501 \|(?: *[\d.]+ *\|){3} *([\d.]+) *\|', output)


def test_train_then_evaluate_the_file_with_the_stock_architecture(tmp_path, config_file, baseline):
    trained = train_net('--config-file', config_file, 'MODEL.WEIGHTS', baseline,
                        'SOLVER.MAX_EPOCH', '1')
    tested = train_net('--config-file', config_file, '--eval-only', 'MODEL.META_ARCHITECTURE',
                       'Baseline', 'MODEL.WEIGHTS', str(tmp_path / 'out/model_final.pth'))
    assert len(scores(trained)) == 1 and scores(tested) == scores(trained)
    again = train_net('--config-file', config_file, '--eval-only', 'MODEL.WEIGHTS',
                      str(tmp_path / 'out/model_final.pth'), 'OUTPUT_DIR', str(tmp_path / 'other'))
    assert scores(again) == scores(trained), 'with our architecture, too'


@pytest.mark.matrix
def test_two_cpu_processes_train_and_resume(tmp_path, config_file, baseline):
    def run_in_two(name, *options):
        return train_net('--config-file', config_file, '--num-gpus', '2', '--dist-url',
                         f'file://{tmp_path}/meet-{name}', *options, 'MODEL.WEIGHTS', baseline,
                         'DATALOADER.NUM_INSTANCE', '15', 'OUTPUT_DIR', str(tmp_path / name))

    assert len(scores(run_in_two('whole'))) == 1
    (tmp_path / 'parts').mkdir()
    shutil.copy(tmp_path / 'whole/model_0000.pth', tmp_path / 'parts')
    (tmp_path / 'parts/last_checkpoint').write_text('model_0000.pth')
    run_in_two('parts', '--resume')
    whole, parts = (load(tmp_path / name / 'model_final.pth') for name in ('whole', 'parts'))
    assert whole[KEY]['learned'] == parts[KEY]['learned'] == 2 * EPOCH
    # DDP sums gradients of two processes in an order of its own; BatchNorm statistics are rank 0's.
    for key, value in whole[KEY]['raw'].items():
        torch.testing.assert_close(parts[KEY]['raw'][key], value, rtol=1e-3, atol=1e-4)


def test_one_pass_denoises_a_folder_without_training(tmp_path, config_file, baseline, digits):
    folder = digits / 'bounding_box_train'
    assert run(['--config-file', config_file, '--one-pass', str(folder),
                'MODEL.META_ARCHITECTURE', 'Baseline', 'MODEL.WEIGHTS', baseline]) == 0
    denoised = load(tmp_path / 'out/model_denoised.pth')
    assert denoised.keys() == {'model'}
    assert denoised['model'].keys() == load(baseline)['model'].keys()

    # The same by hand: the core on tensors of the same images.
    cfg = reid_config(tmp_path, digits, 'MODEL.HEADS.NUM_CLASSES', 6)
    model = Trainer.build_model(cfg).eval()
    model.load_state_dict(load(baseline)['model'])
    from fastreid.data.data_utils import read_image
    from fastreid.data.transforms import build_transforms
    transform = build_transforms(cfg, is_train=False)
    pixels = torch.stack([transform(read_image(str(path))) for path in images_below(folder)])
    fit_one_pass_(model, pixels.split(cfg.TEST.IMS_PER_BATCH),
                  forward=lambda m, x: m({'images': x.clone()}))
    for name, layer in denoise_layers(model):
        torch.testing.assert_close(denoised['model'][f'{name}.weight'], layer.fused_tensors()[0])
    layers, start = dict(denoise_layers(model)), load(baseline)['model']
    for key, value in denoised['model'].items():
        assert torch.equal(value, start[key]) == (key.rpartition('.')[0] not in layers), key


@pytest.mark.matrix
def test_one_pass_in_two_processes_is_one_pass(tmp_path, config_file, baseline, digits):
    for processes in ('1', '2'):
        train_net('--config-file', config_file, '--num-gpus', processes,
                  '--dist-url', f'file://{tmp_path}/meet{processes}',
                  '--one-pass', str(digits / 'query'), 'MODEL.WEIGHTS', baseline,
                  'OUTPUT_DIR', str(tmp_path / processes))
    one, two = (load(tmp_path / n / 'model_denoised.pth')['model'] for n in ('1', '2'))
    for key in one:
        torch.testing.assert_close(one[key], two[key])


@pytest.mark.parametrize('args, words', [
    (['MODEL.DENOISEREP.NOYSE', 'unit'], 'Did you mean MODEL.DENOISEREP.NOISE'),
    (['DATASETS.ROOT', '/nowhere'], 'Market1501 cannot be read'),
    (['MODEL.WEIGHTS', '/nowhere.pth'], '/nowhere.pth: no such checkpoint'),
    (['--eval-only'], '--eval-only needs MODEL.WEIGHTS'),
    (['SOLVER.IMS_PER_BATCH', '5000'], 'fill no batch of 5000'),
    (['--one-pass', '/nowhere'], '/nowhere: no such folder'),
])
def test_bad_input_is_named_and_nothing_written(tmp_path, config_file, capsys, args, words):
    flags = [a for a in args if a.startswith('--') or args[0] == '--one-pass']
    rest = [a for a in args if a not in flags]
    assert run(['--config-file', config_file, *flags, *rest]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_what_to_resume_from_is_looked_at_before_anything_is_written(tmp_path, config_file, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/last_checkpoint').write_text('gone.pth')
    assert run(['--config-file', config_file, '--resume']) == 2
    assert 'names gone.pth, which is not there' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['last_checkpoint']


def test_nan_in_weights_is_an_error_in_words(tmp_path, config_file, baseline, capsys):
    poisoned = load(baseline)
    poisoned['model']['backbone.conv1.bn.bias'][0] = float('nan')
    torch.save(poisoned, tmp_path / 'nan.pth')
    weights = ['MODEL.WEIGHTS', str(tmp_path / 'nan.pth')]
    for flags in ([], ['--eval-only']):
        assert run(['--config-file', config_file, *flags, *weights]) == 2
        assert 'NaN or infinity, in 1 tensors: backbone.conv1.bn.bias' in capsys.readouterr().err


def test_one_pass_needs_weights_and_overwrites_nothing(tmp_path, config_file, baseline, digits, capsys):
    assert run(['--config-file', config_file, '--one-pass', str(digits)]) == 2
    assert 'give its checkpoint as MODEL.WEIGHTS' in capsys.readouterr().err
    out = tmp_path / 'out/model_denoised.pth'
    out.parent.mkdir()
    out.write_text('mine')
    assert run(['--config-file', config_file, '--one-pass', str(digits), 'MODEL.WEIGHTS', baseline]) == 2
    assert 'exists: remove it' in capsys.readouterr().err
    assert out.read_text() == 'mine'
    (tmp_path / 'empty').mkdir()
    assert run(['--config-file', config_file, '--one-pass', str(tmp_path / 'empty'),
                'MODEL.WEIGHTS', baseline]) == 2
    assert 'no images below it' in capsys.readouterr().err


def test_checkpoint_of_another_backbone_is_refused(tmp_path, config_file, baseline, capsys):
    for flags in (['--eval-only'], []):
        assert run(['--config-file', config_file, *flags, 'MODEL.WEIGHTS', baseline,
                    'MODEL.BACKBONE.DEPTH', 'x0_5', 'MODEL.BACKBONE.FEAT_DIM', '256']) == 2
        assert 'The checkpoint is of another model' in capsys.readouterr().err
    assert not list((tmp_path / 'out').glob('*.pth'))


def test_code_in_a_checkpoint_is_never_run(tmp_path, config_file, capsys):
    class Attack:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/attacked', )

    torch.save({'model': {}, 'extra': Attack()}, tmp_path / 'evil.pth')
    evaluate = ['--config-file', config_file, '--eval-only', 'MODEL.WEIGHTS']
    assert run([*evaluate, str(tmp_path / 'evil.pth')]) == 2
    assert 'cannot be read safely' in capsys.readouterr().err
    assert not (tmp_path / 'attacked').exists()
    torch.save({'state_dict': {}}, tmp_path / 'mm.pth')
    assert run([*evaluate, str(tmp_path / 'mm.pth')]) == 2
    assert 'no FastReID checkpoint' in capsys.readouterr().err


def test_fuse_leaves_the_training_state_out(tmp_path, config_file, baseline):
    assert run(['--config-file', config_file, 'MODEL.WEIGHTS', baseline, 'SOLVER.MAX_EPOCH', '1']) == 0
    trained, out = tmp_path / 'out/model_final.pth', tmp_path / 'fused.pth'
    done = subprocess.run([sys.executable, ROOT / 'tools/fuse.py', trained, out], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert load(out).keys() == {'model'}
    assert_same_state(load(out)['model'], load(trained)['model'])
