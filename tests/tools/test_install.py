"""What the installation says and leaves, with a Python that only pretends to install and compile."""
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers import HEARING, first_of

ROOT = Path(__file__).parents[2]
# Stands for python3.11 and for the Python of the environment it makes. mmcv is "compiled" in four files.
PYTHON = '''#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$*" in
  --version) echo 'Python 3.11.0' ;;
  '-m venv '*) mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python"; touch "${@: -1}/bin/pip"
    chmod +x "${@: -1}/bin/pip" ;;
  *'import mmcv.ops; '*) [[ -f $READY ]] ;;
  *--no-build-isolation\\ mmcv)
    [[ -z ${PIP_CACHE:-} ]] || { touch "$READY"; exit 0; }
    mkdir -p "$TMPDIR/pip-install"
    cd "$TMPDIR/pip-install"
    printf 'build %s.o: compile x\\n' a b c d >build.ninja
    for name in a b c d; do sleep "${COMPILING:-1}"; touch $name.o; done
    sleep 2
    touch "$READY" ;;
  *.whl) touch "$READY" ;;
esac
'''


@pytest.fixture
def checkout(tmp_path):
    """The script, in a checkout of its own, and the environment it runs in."""
    for name in ('tools/install.sh', 'tools/jobs.sh', 'tools/constraints/official.txt', 'setup.py'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / 'denoiserep_ext').mkdir()
    python = tmp_path / 'bin/python3.11'
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {**os.environ, 'PYTHON': str(python), 'CALLS': str(tmp_path / 'calls'),
                   'READY': str(tmp_path / 'ready'), 'SIGN_OF_LIFE': '1'}
    environment.pop('MMCV_WHEEL', None)
    return tmp_path, environment


def install(checkout, *words, **variables):
    folder, environment = checkout
    return subprocess.run(['bash', folder / 'tools/install.sh', *words], capture_output=True, text=True,
                          env={**environment, **variables}, timeout=100)


def calls(checkout):
    return (checkout[0] / 'calls').read_text()


def test_compiling_tells_how_far_it_is_and_how_long_it_takes(checkout):
    done = install(checkout)
    assert done.returncode == 0, done.stderr
    assert 'mmcv: 2 of 4 object files, about 1 minutes left' in done.stdout
    assert 'mmcv: 4 object files, linking' in done.stdout
    assert not (checkout[0] / '.venv/build').exists()
    again = install(checkout)
    assert again.stdout == 'install: .venv is complete (official stack)\n'


def test_a_wheel_in_pips_cache_needs_no_compiling(checkout):
    done = install(checkout, PIP_CACHE='1')
    assert done.returncode == 0 and 'object files' not in done.stdout


@pytest.mark.parametrize('given', ['file', 'folder'])
def test_a_wheel_that_is_there_is_used(checkout, given):
    folder = checkout[0] / 'wheels'
    folder.mkdir()
    wheel = folder / 'mmcv-2.1.0-cp311-cp311-linux_x86_64.whl'
    wheel.touch()
    (folder / 'mmcv_lite-2.1.0-py3-none-any.whl').touch()
    done = install(checkout, MMCV_WHEEL=str(wheel if given == 'file' else folder))
    assert done.returncode == 0, done.stderr
    assert f'{wheel}\n' in calls(checkout) and '--no-build-isolation mmcv\n' not in calls(checkout)


def test_a_wheel_that_is_not_there_is_refused_before_anything_is_installed(checkout):
    for value, words in ((checkout[0] / 'no.whl', 'there is no'), (checkout[0], 'no wheel of mmcv in')):
        done = install(checkout, MMCV_WHEEL=str(value))
        assert done.returncode == 2 and f'MMCV_WHEEL: {words}' in done.stderr
    assert not (checkout[0] / 'calls').exists()


@pytest.mark.parametrize('number', first_of([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
def test_an_interruption_ends_the_compilers_and_says_how_to_go_on(checkout, number):
    folder, environment = checkout
    seconds = f'7.{os.getpid()}{int(number)}'  # no other test's
    process = subprocess.Popen([*HEARING, 'bash', folder / 'tools/install.sh'], start_new_session=True,
                               text=True, env={**environment, 'COMPILING': seconds},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(folder.glob('.venv/build/*/build.ninja')):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert 'install: interrupted; run it again' in errors
    running = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True).stdout
    assert f'sleep {seconds}' not in running
    assert install(checkout, COMPILING='0').returncode == 0
