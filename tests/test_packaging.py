"""What a user installs: the wheel, the core without any host, errors where a host is missing."""
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.helpers import first_of

ROOT = Path(__file__).parents[1]
BLOCK = '''
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}')
sys.meta_path.insert(0, Block())
'''
HOSTS = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'timm', 'torchvision', 'sklearn',
         'matplotlib', 'tqdm', 'PIL', 'fastreid')


def run(tmp_path, blocked, *arguments):
    """A process in which some packages are not installed."""
    (tmp_path / 'sitecustomize.py').write_text(BLOCK.format(blocked=tuple(blocked)))
    environment = {**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'}
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=tmp_path,
                          capture_output=True, text=True)


def test_core_works_with_torch_alone(tmp_path):
    result = run(tmp_path, HOSTS, '-W', 'error', '-c', '''
import torch
from torch import nn
from denoiserep_ext import DenoiseRepConfig, convert_, fit_one_pass_, fuse_
model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
print(convert_(model, DenoiseRepConfig(layers='all')))
fit_one_pass_(model, [torch.randn(32, 4)])
print(type(fuse_(model)[0]) is nn.Linear)
''')
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith('2 of 2 layers converted\nTrue\n')


def test_missing_hosts_are_named_with_the_remedy(tmp_path):
    result = run(tmp_path, ['mmengine'], '-c', 'import denoiserep_ext.mm')
    assert 'denoiserep_ext.mm needs mmengine and a toolbox: bash tools/install.sh' in result.stderr
    result = run(tmp_path, ['mmengine'], '-c', 'from denoiserep_ext import DenoiseRepHook')
    assert 'denoiserep_ext.mm needs mmengine and a toolbox: bash tools/install.sh' in result.stderr
    config = ROOT / 'configs/mmpretrain/digits/vit-tiny_1xb64_digits.py'
    result = run(tmp_path, ['mmengine'], '-m', 'denoiserep_ext', 'inspect', str(config))
    assert result.returncode == 2 and 'a config needs mmengine' in result.stderr
    result = run(tmp_path, ['sklearn'], '-m', 'denoiserep_ext', 'digits', 'out')
    assert result.returncode == 2 and 'pip install scikit-learn' in result.stderr
    alone = (*HOSTS, 'numpy', 'scipy')
    for command, missing in (('digits', alone), ('scenes', alone), ('retrieval', alone),
                             ('scenes', ['PIL'])):
        result = run(tmp_path, missing, '-W', 'ignore', '-m', 'denoiserep_ext', command, 'out')
        assert result.returncode == 2 and 'denoiserep_ext[tools]"' in result.stderr, result.stderr
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'det.py').write_text("default_scope = 'mmdet'\nmodel = dict(type='RetinaNet')\n")
    result = run(tmp_path, ['mmdet'], '-m', 'denoiserep_ext', 'inspect', 'det.py')
    assert result.returncode == 2 and 'mmdet is needed by this config' in result.stderr
    result = run(tmp_path, ['timm'], '-m', 'denoiserep_ext', 'inspect', 'timm:resnet18')
    assert result.returncode == 2 and 'pip install timm' in result.stderr


@pytest.mark.parametrize('arguments, message', first_of([
    (['torchvision:resnet18'], '19 of 21 layers converted'),
    ([str(ROOT / 'configs/mmpretrain/digits/vit-tiny_1xb64_digits.py')], '8 of 17 layers converted'),
    (['torchvision:vit_b_16', '--step-stride', '3'], 'encoder_layer_0.mlp.0'),
    (['torchvision:resnet18', '--layers', 'fc', 'conv1'], 'fc'),
    (['mmpretrain::resnet/resnet18_8xb32_in1k.py'], '19 of 20 layers converted'),
], 2))
def test_inspect_prints_the_table(tmp_path, arguments, message):
    result = run(tmp_path, [], '-m', 'denoiserep_ext', 'inspect', *arguments)
    assert result.returncode == 0, result.stderr
    assert message in result.stdout


@pytest.mark.parametrize('arguments, message', first_of([
    (['torchvision:resnet19'], "torchvision has no model 'resnet19'"),
    (['torchvision:resnet18', '--target', 'trunk'], "no part 'trunk'"),
    (['torchvision:resnet18', '--layers', 'no'], 'Nothing to convert'),
    (['torchvision:resnet18', '--step-stride', '400'], 'out of range'),
    (['missing.py'], 'missing.py'),
], 2))
def test_inspect_names_what_is_wrong(tmp_path, arguments, message):
    result = run(tmp_path, [], '-m', 'denoiserep_ext', 'inspect', *arguments)
    assert result.returncode == 2 and message in result.stderr
    assert 'Traceback' not in result.stderr


@pytest.fixture(scope='module')
def distributions(tmp_path_factory):
    """Source distribution of a clean checkout, and the wheel that pip makes of it."""
    folder = tmp_path_factory.mktemp('distributions')
    source = folder / 'source'
    files = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    code = f'from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})'
    built = subprocess.run([sys.executable, '-c', code], cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert 'deprecated' not in built.stderr.lower(), built.stderr
    archive, = folder.glob('denoiserep_ext-*.tar.gz')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
                    '-w', str(folder), str(archive)], check=True)
    wheel, = folder.glob('denoiserep_ext-*.whl')
    return archive, wheel


def carried():
    """Tools, configs and index of the checkout, without shell scripts."""
    files = subprocess.run(['git', 'ls-files', 'tools', 'configs', 'model-index.yml'], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split()
    return {name for name in files if not name.endswith('.sh')}


def test_source_distribution_and_wheel_carry_what_mim_looks_for(distributions):
    archive, wheel = distributions
    root = archive.name.removesuffix('.tar.gz')
    with tarfile.open(archive) as files:
        in_archive = {name.removeprefix(f'{root}/') for name in files.getnames()}
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert len(carried()) > 200
    assert {*carried(), 'README.md', 'LICENSE', 'CHANGELOG.md', 'pyproject.toml'} <= in_archive
    assert {f'denoiserep_ext/.mim/{name}' for name in carried()} <= in_wheel
    assert 'denoiserep_ext/core/layer/layers.py' in in_wheel
    for names in (in_archive, in_wheel):
        assert not [name for name in names if name.startswith('tests/') or '__pycache__' in name
                    or name.endswith('.sh')]


def test_the_wheel_installs_and_runs_without_the_checkout(distributions, tmp_path):
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target',
                    str(tmp_path / 'site'), str(distributions[1])], check=True)
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path / 'site')}

    def call(*words):
        return subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, check=True,
                              capture_output=True, text=True).stdout
    where = call('-c', 'import denoiserep_ext; print(denoiserep_ext.__file__)')
    assert where.startswith(str(tmp_path / 'site'))
    assert '19 of 21 layers converted' in call('-m', 'denoiserep_ext', 'inspect', 'torchvision:resnet18')
    fuse = tmp_path / 'site/denoiserep_ext/.mim/tools/fuse.py'
    assert 'checkpoint of a DenoiseRep training' in call(str(fuse), '--help')


def test_metadata_says_who_where_and_for_what(distributions):
    names = zipfile.ZipFile(distributions[1])
    path, = (name for name in names.namelist() if name.endswith('.dist-info/METADATA'))
    data = message_from_string(names.read(path).decode())
    for field in ('Author', 'License', 'Summary', 'Keywords', 'Home-page', 'Requires-Python'):
        assert data[field], field
    urls = dict(line.split(', ') for line in data.get_all('Project-URL'))
    assert {'Documentation', 'Changelog', 'Issues'} <= urls.keys()
    assert all(url.startswith('https://') for url in urls.values())
    assert [line for line in data.get_all('Classifier') if 'Python :: 3.' in line]
    assert data.get_all('Requires-Dist')[0].startswith('torch')
    assert not [line for line in data.get_all('Requires-Dist')[1:] if 'extra ==' not in line]
    assert data['Description-Content-Type'] == 'text/markdown'
    links = re.findall(r'\]\(([^)]+)\)', data.get_payload())
    assert links and all(link.startswith(('https://', '#')) for link in links), links


def test_an_index_renders_what_is_uploaded(distributions):
    pytest.importorskip('twine')
    done = subprocess.run([sys.executable, '-m', 'twine', 'check', '--strict', *distributions],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_setup_states_what_the_matrix_tests():
    setup, matrix = ((ROOT / name).read_text() for name in ('setup.py', 'noxfile.py'))
    oldest, = re.findall(r"'torch>=([\d.]+)'", setup)
    pythons = re.findall(r"nox\.param\('3\.(\d+)', '(torch[^']*)'", matrix)
    assert pythons[0][1] == f'torch=={oldest}.0' and pythons[-1][1] == 'torch'
    python_requires, = re.findall(r"python_requires='>=3\.(\d+)'", setup)
    assert pythons[0][0] == python_requires
    stated, = re.findall(r'for minor in \((.*?)\)', setup)
    assert set(stated.split(', ')) == {minor for minor, _ in pythons} | {'11'}  # tools/install.sh
