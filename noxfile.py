"""The core with torch alone, on the Pythons and torches that setup.py allows: `pip install nox`, then

    nox                        every environment below, with python3.10, 3.12 and 3.13 from the PATH
    nox -p 3.12                one of them
    nox -- tests/core/pairs    a part of tests/core and tests/models, or options of pytest

What is tested is the installed package: the tests run in a folder that holds no other.
"""
import os
import shutil
from pathlib import Path

import nox

nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
# The oldest torch that setup.py allows, one in the middle, and the newest there is.
ENVIRONMENTS = (
    nox.param('3.10', 'torch==2.5.0', id='3.10, oldest torch'),
    nox.param('3.12', 'torch==2.9.1', id='3.12, torch 2.9'),
    nox.param('3.13', 'torch', id='3.13, newest torch'),
)
VERSIONS = '''
import platform, torch, denoiserep_ext
print('Python', platform.python_version(), 'torch', torch.__version__, denoiserep_ext.__file__)
'''


@nox.session
@nox.parametrize('python, torch', ENVIRONMENTS)
def core(session: nox.Session, torch: str) -> None:
    """tests/core and tests/models."""
    session.install('--upgrade', torch)
    session.install('--force-reinstall', '--no-deps', ROOT)
    session.run('python', '-I', '-c', 'import denoiserep_ext')  # before anything else is installed
    session.install(torch, 'torchvision', 'timm', 'scikit-learn', 'pytest', 'pytest-xdist', 'hypothesis')
    folder = Path(session.create_tmp()) / 'checkout'
    shutil.rmtree(folder, ignore_errors=True)
    for name in ('tests', 'tools', 'benchmarks'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(ROOT / 'pytest.ini', folder)
    session.chdir(folder)
    session.run('python', '-c', VERSIONS)
    session.run('python', '-m', 'pytest', '-n', str(os.cpu_count()), '--dist', 'worksteal',
                *(session.posargs or ('tests/core', 'tests/models')))
