"""What the shell script makes of its options; the tools it runs are tested apart."""
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers import HEARING

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'tools/quickstart.sh'


@pytest.fixture
def checkout(tmp_path):
    """The script with an installation and a Python that only tell what they were asked for."""
    (tmp_path / 'tools').mkdir()
    for script in (SCRIPT, SCRIPT.with_name('jobs.sh')):
        shutil.copy(script, tmp_path / 'tools')
    (tmp_path / 'tools/install.sh').write_text('touch installed\n')
    programs = tmp_path / '.venv/bin'
    programs.mkdir(parents=True)
    (programs / 'activate').write_text(f'PATH={programs}:$PATH\n')
    (programs / 'python').write_text('#!/usr/bin/env bash\nprintf "%s\\n" "run: $*"\n')
    (programs / 'python').chmod(0o755)
    return tmp_path


def run(checkout, *words):
    return subprocess.run(['bash', checkout / 'tools/quickstart.sh', *words], capture_output=True,
                          text=True, cwd=checkout.parent)


def last_command(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize('script', sorted((ROOT / 'tools').glob('*.sh')), ids=lambda path: path.name)
def test_shell_scripts_are_sound(script):
    subprocess.run(['bash', '-n', script], check=True)
    if shutil.which('shellcheck'):
        subprocess.run(['shellcheck', '-x', '-e', 'SC1091', script], check=True)


def test_without_options_trained_models_are_denoised_and_compared(checkout):
    words = last_command(run(checkout))
    assert (checkout / 'installed').exists()
    tool = words.index('tools/compare_denoised.py')
    configs = [word for word in words if word.endswith('.py')][1:]
    assert len(configs) == 2 and all((ROOT / config).is_file() for config in configs)
    assert (ROOT / words[tool]).is_file()
    assert 'work_dirs/quickstart' in words and ' --seeds 0 1 2 ' in ' '.join(words)


@pytest.mark.parametrize('task', ['training', 'vmamba', 'detection', 'segmentation', 'retrieval'])
def test_tasks_compare_trainings(checkout, task):
    words = last_command(run(checkout, f'--{task}'))
    configs = [word for word in words if word.endswith(('.py', '.yml')) and word.startswith('configs/')]
    assert 'tools/compare.py' in words and f'work_dirs/quickstart_{task}' in words
    assert configs and all((ROOT / config).is_file() for config in configs)


def test_options_are_passed_on_and_come_last(checkout):
    words = ' '.join(last_command(run(
        checkout, '--seeds', '4', '5', '--training', '--jobs', '3', '--skip-costs', '--cfg-options',
        'train_cfg.max_epochs=2', 'a.b=c', '--work-dir', 'here')))
    assert words.endswith('--seeds 4 5 --jobs 3 --skip-costs --cfg-options train_cfg.max_epochs=2 '
                          'a.b=c --work-dir here')
    assert 'tools/compare.py' in words


@pytest.mark.parametrize('words, reason', [
    (['--trainig'], 'unknown option --trainig'),
    (['training'], 'unknown option training'),
    (['--training', '--vmamba'], '--training and --vmamba: choose one'),
    (['--training', 'now'], '--training takes no value, got now'),
    (['--seeds'], '--seeds needs numbers'),
    (['--seeds', '1', 'x'], '--seeds: x is no number'),
    (['--jobs', '0'], '--jobs needs one number from 1'),
    (['--jobs', '1', '2'], '--jobs needs one number from 1'),
    (['--work-dir'], '--work-dir needs one folder'),
    (['--cfg-options', 'max_epochs'], '--cfg-options: max_epochs is not KEY=VALUE'),
    (['--skip-costs'], '--skip-costs is for training'),
    (['--vmamba', '--seed', '1'], 'unknown option --seed'),
])
def test_other_options_are_refused_with_the_usage_before_anything_is_installed(checkout, words, reason):
    done = run(checkout, *words)
    assert done.returncode == 2
    assert f'quickstart: {reason}' in done.stderr and 'bash tools/quickstart.sh --vmamba' in done.stderr
    assert not (checkout / 'installed').exists()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_no_process_and_says_how_to_go_on(checkout, number):
    sleep = f'sleep 7.{os.getpid()}{int(number)}'  # no other test's
    (checkout / '.venv/bin/python').write_text(f'#!/usr/bin/env bash\ntouch running\n{sleep}\n')
    process = subprocess.Popen([*HEARING, 'bash', checkout / 'tools/quickstart.sh', '--seeds', '4', '5'],
                               text=True, start_new_session=True, stderr=subprocess.PIPE)
    while not (checkout / 'running').exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, number)
    assert 'go on with: bash tools/quickstart.sh --seeds 4 5\n' in process.communicate(timeout=20)[1]
    assert process.returncode == 130
    running = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True).stdout
    assert sleep not in running


@pytest.mark.parametrize('words', [['--help'], ['-h'], ['--vmamba', '--help']])
def test_help_installs_nothing(checkout, words):
    done = run(checkout, *words)
    assert done.returncode == 0 and not (checkout / 'installed').exists()
    assert '--skip-costs' in done.stdout and 'set -euo' not in done.stdout
