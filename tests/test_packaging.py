"""What a user installs: the wheel, the core without any host, errors where a host is missing."""
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
    (tmp_path / 'det.py').write_text("default_scope = 'mmdet'\nmodel = dict(type='RetinaNet')\n")
    result = run(tmp_path, ['mmdet'], '-m', 'denoiserep_ext', 'inspect', 'det.py')
    assert result.returncode == 2 and 'mmdet is needed by this config' in result.stderr
    result = run(tmp_path, ['timm'], '-m', 'denoiserep_ext', 'inspect', 'timm:resnet18')
    assert result.returncode == 2 and 'pip install timm' in result.stderr


@pytest.mark.parametrize('arguments, message', [
    (['torchvision:resnet18'], '19 of 21 layers converted'),
    (['torchvision:vit_b_16', '--step-stride', '3'], 'encoder_layer_0.mlp.0'),
    (['torchvision:resnet18', '--layers', 'fc', 'conv1'], 'fc'),
    ([str(ROOT / 'configs/mmpretrain/digits/vit-tiny_1xb64_digits.py')], '8 of 17 layers converted'),
    (['mmpretrain::resnet/resnet18_8xb32_in1k.py'], '19 of 20 layers converted'),
])
def test_inspect_prints_the_table(tmp_path, arguments, message):
    result = run(tmp_path, [], '-m', 'denoiserep_ext', 'inspect', *arguments)
    assert result.returncode == 0, result.stderr
    assert message in result.stdout


@pytest.mark.parametrize('arguments, message', [
    (['torchvision:resnet19'], "torchvision has no model 'resnet19'"),
    (['torchvision:resnet18', '--target', 'trunk'], "no part 'trunk'"),
    (['torchvision:resnet18', '--layers', 'no'], 'Nothing to convert'),
    (['torchvision:resnet18', '--step-stride', '400'], 'out of range'),
    (['missing.py'], 'missing.py'),
])
def test_inspect_names_what_is_wrong(tmp_path, arguments, message):
    result = run(tmp_path, [], '-m', 'denoiserep_ext', 'inspect', *arguments)
    assert result.returncode == 2 and message in result.stderr
    assert 'Traceback' not in result.stderr


def test_wheel_carries_what_mim_looks_for(tmp_path):
    source = tmp_path / 'source'
    files = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
                    '-w', str(tmp_path), str(source)], check=True)
    wheel, = tmp_path.glob('denoiserep_ext-*.whl')
    names = zipfile.ZipFile(wheel).namelist()
    assert {'denoiserep_ext/.mim/tools/train.py', 'denoiserep_ext/.mim/tools/test.py',
            'denoiserep_ext/.mim/model-index.yml', 'denoiserep_ext/core/layer/layers.py',
            'denoiserep_ext/.mim/configs/mmpretrain/_base_/digits.py'} <= set(names)
    assert not [name for name in names if name.startswith('tests/') or '__pycache__' in name]


def test_setup_states_what_the_matrix_tests():
    setup, matrix = ((ROOT / name).read_text() for name in ('setup.py', 'noxfile.py'))
    oldest, = re.findall(r"'torch>=([\d.]+)'", setup)
    pythons = re.findall(r"nox\.param\('3\.(\d+)', '(torch[^']*)'", matrix)
    assert pythons[0][1] == f'torch=={oldest}.0' and pythons[-1][1] == 'torch'
    python_requires, = re.findall(r"python_requires='>=3\.(\d+)'", setup)
    assert pythons[0][0] == python_requires
    stated, = re.findall(r'for minor in \((.*?)\)', setup)
    assert set(stated.split(', ')) == {minor for minor, _ in pythons} | {'11'}  # tools/install.sh
