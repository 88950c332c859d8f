"""The comparison tool: its arithmetic, and one real run of it."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')

from mmengine.config import Config  # noqa: E402

from denoiserep_ext.compare import comparison  # noqa: E402
from denoiserep_ext.compare.comparison import Comparison, summarise, verdict  # noqa: E402
from denoiserep_ext.compare.measure import without_hook  # noqa: E402
from denoiserep_ext.compare.openmmlab import OpenMMLab  # noqa: E402
from denoiserep_ext.compare.programs import run_program, wait_for_others  # noqa: E402
from denoiserep_ext.compare.stages import Stage  # noqa: E402
from denoiserep_ext.datasets.digits import write_image_folder  # noqa: E402

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs/mmpretrain/digits'


def results(*rows):
    """Results from (baseline, control, denoiserep) per seed."""
    return [{'row': row, 'seed': seed, 'metrics': {'acc': value}}
            for seed, values in enumerate(rows)
            for row, value in zip(('baseline', 'control', 'denoiserep'), values)]


def test_summary_is_mean_and_sample_deviation():
    summary = summarise(results((1, 2, 3), (3, 2, 5)))
    assert summary['baseline']['acc'] == {'mean': 2, 'std': pytest.approx(2**0.5), 'n': 2}
    assert summary['control']['acc']['std'] == 0


@pytest.mark.parametrize('rows, words', [
    ([(0, 5, 5), (0, 6, 6)], 'no difference at all'),
    ([(0, 5, 6), (0, 6, 5.5)], 'no difference beyond the noise'),
    ([(0, 5, 7), (0, 6, 8.1), (0, 5, 7.1)], 'higher than the control'),
    ([(0, 5, 3), (0, 6, 3.9), (0, 5, 3.1)], 'lower than the control'),
    ([(0, 5, 9)], 'no statement about noise'),
    ([(0, 5, 6), (0, 5, 6.1)], '95 % interval +0.41 to +1.69, 2 seeds): higher'),
    ([(0, 5, 6), (0, 5, 6.3)], '95 % interval -0.76 to +3.06, 2 seeds): no difference beyond'),
])
def test_verdict_says_what_the_figures_say(rows, words):
    """Against the control, never against the baseline."""
    assert words in verdict(results(*rows), 'acc')


def test_control_is_the_config_without_the_hook():
    cfg = Config.fromfile(CONFIGS / 'vit-tiny_denoiserep-joint_1xb64_digits.py')
    control = without_hook(cfg)
    assert control.custom_hooks == []
    control.custom_hooks = cfg.custom_hooks
    assert control.to_dict() == cfg.to_dict()
    with pytest.raises(ValueError, match='has no DenoiseRepHook'):
        without_hook(Config.fromfile(CONFIGS / 'vit-tiny_1xb64_digits.py'))


def test_noise_that_is_shown_is_no_training_to_compare():
    config = CONFIGS / 'vit-tiny_denoiserep-frozen-corruption_1xb64_digits.py'
    with pytest.raises(ValueError, match='trains nothing, so no training can be compared'):
        OpenMMLab().read_config(config, {})


VIT = CONFIGS / 'vit-tiny_1xb64_digits.py'


def with_data(**datasets):
    """Options of a config: its loaders' datasets, all of one kind unless said otherwise."""
    return {f'{split}_dataloader.dataset': dict(_delete_=True, **datasets)
            for split in ('train', 'val', 'test')}


def test_data_that_are_not_there_are_named_before_anything_is_trained(tmp_path):
    missing = str(tmp_path / 'none')
    with pytest.raises(FileNotFoundError) as caught:
        OpenMMLab().read_config(VIT, {**with_data(data_root=missing),
                                      'test_dataloader.dataset.data_root': str(tmp_path)})
    assert f'no folder {missing} (train_dataloader), {missing} (val_dataloader).' in str(caught.value)
    repeated = dict(type='RepeatDataset', dataset=dict(data_root=missing))
    joined = dict(type='ConcatDataset', datasets=[dict(data_root=str(tmp_path)),
                                                  dict(data_root=missing, backend_args=None)])
    for dataset in repeated, joined:
        with pytest.raises(FileNotFoundError, match=missing):
            OpenMMLab().read_config(VIT, with_data(**dataset))


@pytest.mark.parametrize('dataset', [
    dict(data_root='s3://bucket/digits'), dict(data_root=''), dict(),
    dict(data_root='none', backend_args=dict(backend='petrel')),
    dict(type='mmpretrain.CIFAR10', data_root='none'),
    dict(data_root='none', ann_file=['/lists/a.txt'], data_prefix='/images'),
    dict(data_root='none', ann_file='/lists/train.txt', data_prefix='/images'),
    dict(data_root='none', data_prefix=dict(img_path='/images'))], ids=str)
def test_data_that_need_not_be_there_are_not_asked_for(dataset):
    assert OpenMMLab().read_config(VIT, with_data(**dataset)).train_dataloader.dataset == dataset


def failing(code):
    """A program that starts another one, as mim does."""
    inner = [sys.executable, '-c', code]
    return [sys.executable, '-c', f'import subprocess; subprocess.check_call({inner})']


CAUGHT = 'import sys, traceback\ntry:\n  1 / 0\nexcept ZeroDivisionError:\n  traceback.print_exc()\n'


@pytest.mark.parametrize('code, cause', [
    ('raise KeyError("this")', ["Cause: KeyError: 'this'"]), ('assert False', ['Cause: AssertionError']),
    (f'{CAUGHT}raise KeyError("this")', ["Cause: KeyError: 'this'"]),
    (f'{CAUGHT}import os, signal\nos.kill(os.getpid(), signal.SIGKILL)', [])], ids=str)
def test_a_failed_program_is_told_with_its_own_error(tmp_path, code, cause):
    """Not with that of a program in between, which says that it failed."""
    (tmp_path / 'log').write_text('Traceback (most recent call last):\n  of\nValueError: earlier\n')
    with pytest.raises(RuntimeError) as caught:
        run_program('row', failing(code), tmp_path / 'log', 1)
    message = str(caught.value)
    assert 'CalledProcessError' in message and 'earlier' not in message
    assert [line for line in message.splitlines() if line.startswith('Cause')] == cause
    assert not cause or message.endswith(cause[0])


def test_bad_plans_are_refused(tmp_path):
    cfg = Config.fromfile(CONFIGS / 'vit-tiny_denoiserep-joint_1xb64_digits.py')
    with pytest.raises(ValueError, match='either a config that trains the baseline or'):
        Comparison(OpenMMLab(), cfg, tmp_path, [0])
    with pytest.raises(FileNotFoundError, match='none.pth'):
        Comparison(OpenMMLab(), cfg, tmp_path, [0], checkpoint=tmp_path / 'none.pth')
    with pytest.raises(ValueError, match='seeds must be different'):
        Comparison(OpenMMLab(), cfg, tmp_path, [0, 0], baseline=cfg)


def test_an_interrupted_training_is_resumed_and_a_changed_one_is_not(tmp_path, monkeypatch):
    cfg = Config.fromfile(CONFIGS / 'vit-tiny_1xb64_digits.py')
    calls = []

    def interrupted(self, stage, verb, config, options, work_dir):
        work_dir.mkdir(exist_ok=True)
        (work_dir / 'last_checkpoint').write_text('epoch_1.pth')
        calls.append(options)
        raise RuntimeError('power cut')

    monkeypatch.setattr(OpenMMLab, '_mim', interrupted)
    for seed in (0, 0, 1):
        with pytest.raises(RuntimeError, match='power cut'):
            Stage(OpenMMLab(), 'baseline', seed, tmp_path, cfg, cfg, None, 1).run()
    assert calls == [[], ['--resume'], []]


class Bar(comparison.tqdm):
    """Notes what it estimates by: steps that are done, those of them that do not count, all."""

    seen: list = []

    def set_postfix_str(self, *args, **kwargs):
        self.seen.append((self.n, self.initial, self.total))
        super().set_postfix_str(*args, **kwargs)


def test_the_time_left_is_estimated_by_what_this_run_has_done(tmp_path, monkeypatch):
    cfg = Config.fromfile(CONFIGS / 'vit-tiny_denoiserep-joint_1xb64_digits.py')
    monkeypatch.setattr(comparison, 'tqdm', Bar)
    monkeypatch.setattr(Stage, 'run', lambda stage: {
        'row': stage.row, 'seed': stage.seed, 'metrics': {'acc': 1.0}, 'checkpoint': str(tmp_path),
        'seconds': 1, 'reused': stage.row == 'baseline'})
    Comparison(OpenMMLab(), cfg, tmp_path, [0, 1], baseline=cfg).run()
    assert Bar.seen[-1] == (6, 2, 6)


def test_a_resumed_row_goes_on_from_its_own_checkpoint(tmp_path, monkeypatch):
    """MMSegmentation's --resume leaves ``load_from`` in the config, and mmengine takes it for the
    checkpoint to resume from."""
    cfg = Config.fromfile(CONFIGS / 'vit-tiny_1xb64_digits.py')
    (tmp_path / 'baseline.pth').touch()
    started = []

    def interrupted(self, stage, verb, config, options, work_dir):
        work_dir.mkdir(exist_ok=True)
        (work_dir / 'last_checkpoint').write_text('epoch_1.pth')
        started.append((config.load_from, [hook['type'] for hook in config.custom_hooks]))
        raise RuntimeError('power cut')

    monkeypatch.setattr(OpenMMLab, '_mim', interrupted)
    row = Stage(OpenMMLab(), 'control', 0, tmp_path / 'row', cfg, cfg, tmp_path / 'baseline.pth', 1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match='power cut'):
            row.run()
    hooks = ['denoiserep_ext.Generators', 'denoiserep_ext.WholeCheckpoints']
    assert started == [(str(tmp_path / 'baseline.pth'), hooks), (None, hooks)]


def test_a_program_that_a_killed_run_left_behind_is_waited_for(tmp_path):
    child = 'import sys, time; time.sleep(3); open(sys.argv[1], "w").write("done")'
    parent = ('import sys\nfrom pathlib import Path\n'
              'from denoiserep_ext.compare.programs import run_program\n'
              f'command = [sys.executable, "-c", {child!r}, sys.argv[1]]\n'
              'run_program("name", command, Path(sys.argv[2]), 1)')
    log = tmp_path / 'log.txt'
    killed = subprocess.Popen([sys.executable, '-c', parent, str(tmp_path / 'out'), str(log)], cwd=ROOT,
                              env={**os.environ, 'PYTHONPATH': str(ROOT)})
    while not log.exists() or not log.read_text().startswith('$ '):
        time.sleep(0.01)
    time.sleep(0.2)  # the program has been started by then
    killed.kill()
    killed.wait()
    assert not (tmp_path / 'out').exists()
    wait_for_others(log)
    assert (tmp_path / 'out').read_text() == 'done'
    wait_for_others(log)  # nobody is left
    wait_for_others(tmp_path / 'none.txt')


@pytest.mark.slow
@pytest.mark.matrix
def test_a_real_comparison_and_its_restart(tmp_path):
    write_image_folder(tmp_path / 'data/digits')
    command = [
        sys.executable, ROOT / 'tools/compare.py',
        CONFIGS / 'vit-tiny_denoiserep-joint_1xb64_digits.py', '--baseline',
        CONFIGS / 'vit-tiny_1xb64_digits.py', '--seeds', '0', '--work-dir', tmp_path / 'out',
        '--jobs', '2', '--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
        'default_hooks.checkpoint.interval=1', 'model.backbone.arch.num_layers=1'
    ]

    def run():
        result = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout

    first = run()
    for words in ('baseline', 'control (as long, no DenoiseRep)', 'DenoiseRep, fused',
                  'fused - unfused', 'inference time', 'no statement about noise'):
        assert words in first
    folder = tmp_path / 'out/vit-tiny_denoiserep-joint_1xb64_digits'
    report = json.loads((folder / 'comparison.json').read_text())
    assert [r['row'] for r in report['results']] == ['baseline', 'control', 'denoiserep']
    assert report['costs']['fused_against_unfused'] < 1e-5
    fused, stock = report['costs']['operators']
    assert fused == stock > 10
    assert (tmp_path / 'out/comparison.png').stat().st_size > 10_000
    stamps = {p: p.stat().st_mtime_ns for p in folder.glob('seed0/*/result.json')}
    assert 'as before' in run()
    assert stamps == {p: p.stat().st_mtime_ns for p in folder.glob('seed0/*/result.json')}
