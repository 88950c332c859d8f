"""Plain against denoised over seeds: its plan, its restart, its end, and one real run of it."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')
pytest.importorskip('imagecorruptions')

from mmengine.config import Config  # noqa: E402

from denoiserep_ext.compare import denoised, trials  # noqa: E402
from denoiserep_ext.compare.denoised import BIAS, DENOISED, NORMS, PLAIN, Trial  # noqa: E402
from denoiserep_ext.compare.openmmlab import OpenMMLab  # noqa: E402
from denoiserep_ext.compare.trials import judged  # noqa: E402
from denoiserep_ext.core.files.writing import write_json  # noqa: E402
from denoiserep_ext.datasets.digits import write_image_folder  # noqa: E402
from tests.helpers import HEARING, first_of  # noqa: E402

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs/mmpretrain/digits'
VIT, RESNET = CONFIGS / 'vit-tiny_1xb64_digits.py', CONFIGS / 'resnet18-w16_1xb64_digits.py'


class Tools:
    """Stands for the tools: notes commands and writes what they write."""

    def __init__(self, monkeypatch, keys=('a.weight', ), gains=(True, True)):
        self.commands, self.trained = [], 0
        self.gains, self.keys = dict(zip(('bias', 'patch'), gains)), keys
        monkeypatch.setattr(denoised, 'run_program', self.run)
        monkeypatch.setattr(denoised.Stage, 'run', lambda stage: self.train(stage))

    def train(self, stage):
        path = stage.folder / 'epoch_1.pth'
        reused = path.exists()
        if not reused:
            path.parent.mkdir(parents=True)
            torch.save({'state_dict': {key: torch.ones(2) * stage.seed for key in self.keys}}, path)
            self.trained += 1
        return {'checkpoint': str(path), 'metrics': {'accuracy/top1': 90.0}, 'reused': reused}

    def run(self, name, command, log, threads):
        tool = next(Path(word).name for word in command if word.endswith('.py'))
        out = Path(command[command.index('--out') + 1])
        self.commands.append(tool)
        if tool == 'robustness.py':
            out.mkdir(exist_ok=True)
            names = command[command.index('--names') + 1:command.index('--corruptions')]
            write_json({'names': names}, out / 'robustness.json')
            return
        gains = True
        if tool == 'calibrate.py':
            gains = self.gains[command[command.index('--form') + 1]]
            write_json({'denoised': gains}, out.with_name(f'{out.stem}_pairs.json'))
        if gains:
            torch.save({'state_dict': {'a.weight': torch.ones(2) * len(self.commands)}}, out)


def make_trial(folder, **change):
    config = Config.fromfile(VIT)
    options = dict(host=OpenMMLab(), config=config, words=[str(VIT)], tools=ROOT / 'tools', name='net',
                   seed=1, folder=folder, fitted=('contrast', ), others=('pixelate', ), severity=3,
                   images=64, threads=1)
    return Trial(**{**options, **change})


def rows_of(result):
    return json.loads(result['scores'].read_text())['names']


def test_a_model_without_batchnorm_has_three_rows_and_one_with_it_four(tmp_path, monkeypatch):
    Tools(monkeypatch)
    assert rows_of(make_trial(tmp_path / 'vit').run()) == [PLAIN, BIAS, DENOISED]
    tools, trial = Tools(monkeypatch, ('a.weight', 'bn.running_mean')), make_trial(tmp_path / 'resnet')
    assert rows_of(trial.run()) == [PLAIN, NORMS, BIAS, DENOISED]
    assert tools.commands == ['adapt_norms.py', 'calibrate.py', 'calibrate.py', 'robustness.py']
    assert trial.done == trial.steps == 5 and len(trial.events) == 5


def test_where_the_judge_finds_no_gain_the_row_is_the_plain_model(tmp_path, monkeypatch):
    Tools(monkeypatch, gains=(True, False))
    trial = make_trial(tmp_path)
    result = trial.run()
    assert result['gains'] == {BIAS: True, DENOISED: False}
    assert (tmp_path / 'denoised.pth').read_bytes() == (tmp_path / 'baseline/epoch_1.pth').read_bytes()
    assert any('no gain, the model stays as it was' in event for event in trial.events)
    assert judged([trial], [result]) == [
        'net, bias only: the judge, without labels, found a gain in 1 of 1 seeds',
        'net, denoised: the judge, without labels, found a gain in 0 of 1 seeds; without one the row is '
        'the plain model']


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    tools = Tools(monkeypatch)
    first = make_trial(tmp_path).run()
    done = list(tools.commands)
    assert make_trial(tmp_path).run() == first and tools.commands == done and tools.trained == 1
    (tmp_path / 'denoised.pth').unlink()
    make_trial(tmp_path).run()
    assert tools.commands[len(done):] == ['calibrate.py', 'robustness.py'], 'its score is another one'
    del tools.commands[:]
    make_trial(tmp_path, severity=4).run()
    assert tools.commands == ['calibrate.py', 'calibrate.py', 'robustness.py']


class Bar(trials.tqdm):
    """Notes what it estimates by: steps that are done, those of them that do not count, all."""

    seen: list = []

    def set_postfix_str(self, *args, **kwargs):
        self.seen.append((self.n, self.initial, self.total))
        super().set_postfix_str(*args, **kwargs)


def test_the_time_left_is_estimated_by_what_this_run_has_done(tmp_path, monkeypatch):
    Tools(monkeypatch)
    monkeypatch.setattr(trials, 'tqdm', Bar)
    for seeds, expected in (((1, ), (4, 0, 4)), ((1, 2), (8, 4, 8))):
        trials.run_trials([make_trial(tmp_path / str(seed), seed=seed) for seed in seeds], jobs=1)
        assert Bar.seen[-1] == expected


def test_a_step_that_failed_is_done_again(tmp_path, monkeypatch):
    tools = Tools(monkeypatch)
    write = tools.run

    def fails(name, command, log, threads):
        if 'patch' in command:
            raise RuntimeError('power cut')
        write(name, command, log, threads)

    monkeypatch.setattr(denoised, 'run_program', fails)
    with pytest.raises(RuntimeError, match='power cut'):
        make_trial(tmp_path).run()
    monkeypatch.setattr(denoised, 'run_program', write)
    make_trial(tmp_path).run()
    assert tools.commands == ['calibrate.py', 'calibrate.py', 'robustness.py'] and tools.trained == 1


PROGRAM = """
import subprocess, sys, threading, time
from pathlib import Path
from denoiserep_ext.compare.programs import interrupt_on_signals, run_program, stop_programs
interrupt_on_signals()
command = ['bash', '-c', 'sleep 300 & echo $! > child; wait']
def run():
    try:
        run_program('sleeper', command, Path('log'), 1)
    except RuntimeError as error:
        print(str(error).splitlines()[0], flush=True)
threading.Thread(target=run).start()
try:
    time.sleep(300)
except KeyboardInterrupt:
    stop_programs()
    run()
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
def test_an_interruption_leaves_no_process_and_starts_none(tmp_path, number):
    process = subprocess.Popen([*HEARING, sys.executable, '-c', PROGRAM], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    child = tmp_path / 'child'
    deadline = time.monotonic() + 60
    while not (child.exists() and child.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert 'sleeper: bash -c' in out and 'sleeper: interrupted.' in out
    status = Path(f'/proc/{child.read_text().strip()}/stat')
    while status.exists() and status.read_text().split()[2] != 'Z' and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not status.exists() or status.read_text().split()[2] == 'Z'


def tool(*words, cwd=None):
    return subprocess.run([sys.executable, ROOT / 'tools/compare_denoised.py', *map(str, words)],
                          capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize('words, reason', first_of([
    (['--corruptions', 'fogg'], "Unknown corruption 'fogg'"),
    (['--corruptions', 'contrast', '--severity', '6'], 'contrast has no severity 6'),
    (['--corruptions', 'contrast', '--others', 'contrast'], 'contrast: either fitted to'),
    (['--corruptions', 'contrast', '--seeds', '0', '0'], 'seeds must be different'),
    (['--corruptions', 'contrast', '--jobs', '0'], '--jobs must be an integer >= 1'),
], 2))
def test_bad_plans_are_refused_before_anything_is_trained(tmp_path, words, reason):
    done = tool(VIT, *words, '--work-dir', tmp_path / 'out')
    assert done.returncode == 1 and reason in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
@pytest.mark.matrix
def test_a_real_run_and_its_restart(tmp_path):
    write_image_folder(tmp_path / 'data/digits')
    words = [RESNET, '--seeds', '0', '--corruptions', 'contrast', '--others', 'pixelate',
             '--images', '128', '--work-dir', tmp_path / 'out', '--cfg-options',
             'train_cfg.max_epochs=2', 'param_scheduler.end=2', 'train_cfg.val_interval=2',
             'default_hooks.checkpoint.interval=2', 'model.backbone.base_channels=8',
             'model.backbone.stem_channels=8', 'model.head.in_channels=64']
    first = tool(*words, cwd=tmp_path)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    for row in (PLAIN, NORMS, BIAS, DENOISED):
        assert f'\n{row} ' in first.stdout
    folder = tmp_path / 'out/resnet18-w16_1xb64_digits/seed0'
    scores = json.loads((folder / 'robustness/robustness.json').read_text())
    stock = json.loads((folder / 'baseline/result.json').read_text())['metrics']['accuracy/top1']
    assert scores['summary']['accuracy/top1'][PLAIN]['clean'] == pytest.approx(stock), 'as mim test says'
    summary = json.loads((tmp_path / 'out/summary.json').read_text())['resnet18-w16_1xb64_digits']
    assert list(summary['rows'][PLAIN]) == ['clean', 'contrast', 'pixelate']
    plain, norms = (torch.load(path, weights_only=False)['state_dict'] for path in (
        folder / 'baseline/train/epoch_2.pth', folder / 'norms.pth'))
    assert all(('running' in key or 'num_batches' in key) or torch.equal(value, plain[key])
               for key, value in norms.items()), 'statistics alone have changed'
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob('*.done')}
    assert len(stamps) == 4
    again = tool(*words, cwd=tmp_path)
    assert again.returncode == 0 and stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert again.stdout.split('±')[-1] == first.stdout.split('±')[-1]
