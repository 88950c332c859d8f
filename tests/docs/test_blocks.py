"""Python blocks of README and guides run as they stand, page by page, from top to bottom."""
from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from tests.docs.pages import PAGES, blocks, name_of

WITH_CODE = [path for path in PAGES if blocks(path, 'python')]
SLOW = ('any_model.md', )
# Smaller, and not downloaded.
REPLACED = (('vit_small', 'vit_tiny'), ('pretrained=True', 'pretrained=False'))


@pytest.fixture
def folder_of_images(tmp_path, monkeypatch):
    """The folder ``images`` that the examples read."""
    image = pytest.importorskip('PIL.Image')
    monkeypatch.chdir(tmp_path)
    for index in range(6):
        folder = tmp_path / 'images' / str(index % 2)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).numpy()
        image.fromarray(pixels).save(folder / f'{index}.png')
    return tmp_path


def given(name: str) -> dict:
    """What a page takes for granted."""
    if name != 'README.md':
        return {}
    clean = torch.randn(60, 8)
    return {'model': nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)),
            'pairs': [(clean, clean + 0.3 * torch.randn(60, 8))]}


def build_what_it_configures(scope: dict) -> int:
    """Build hooks, backbones and metrics that a fragment of a config names; how many there were."""
    registry = pytest.importorskip('mmengine.registry')
    built = [registry.HOOKS.build(hook) for hook in scope.pop('custom_hooks', ())]
    if isinstance(scope.get('model'), dict):
        built.append(registry.MODELS.build(scope.pop('model')['backbone']))
    if 'val_evaluator' in scope:
        pytest.importorskip('mmseg.evaluation')
        with registry.DefaultScope.overwrite_default_scope('mmseg'):
            built += [registry.METRICS.build(metric) for metric in scope.pop('val_evaluator')]
    return len(built)


@pytest.mark.parametrize('path', [
    pytest.param(path, marks=[pytest.mark.matrix] if path.name in SLOW else []) for path in WITH_CODE],
    ids=name_of)
def test_python_blocks_run(path, folder_of_images):
    for module in ('timm', 'mmpretrain', 'onnx'):
        if re.search(rf'^(import|from) {module}\b', '\n'.join(blocks(path, 'python')), re.M):
            pytest.importorskip(module)
    scope = given(name_of(path))
    for number, code in enumerate(blocks(path, 'python'), start=1):
        for old, new in REPLACED:
            code = code.replace(old, new)
        exec(compile(code, f'{name_of(path)}, block {number}', 'exec'), scope)
        if any(name in code for name in ('custom_hooks', 'val_evaluator', 'model = dict')):
            assert build_what_it_configures(scope)


@pytest.mark.matrix
def test_finished_model_of_timm_is_denoised_into_its_plain_keys(folder_of_images):
    timm = pytest.importorskip('timm')
    page, = (path for path in PAGES if path.name == 'any_model.md')
    shown, assumed = (code for code in blocks(page, 'python') if 'create_dataset' in code)
    for code, file in ((shown, 'denoised_pairs.pth'), (assumed, 'denoised.pth')):
        assert 'vit_small_patch16_224' in code and "'images'" in code and 'pretrained=True' in code
        torch.manual_seed(0)
        scope: dict = {}
        for old, new in REPLACED:
            code = code.replace(old, new)
        exec(code, scope)
        torch.manual_seed(0)
        plain = timm.create_model('vit_tiny_patch16_224', pretrained=False)
        denoised = torch.load(file, weights_only=True)
        assert denoised.keys() == plain.state_dict().keys()
        changed = {key for key, value in plain.state_dict().items()
                   if not torch.equal(value, denoised[key])}
        if code.startswith('import timm, torch') and 'convert_' in code:
            assert changed and all('.mlp.fc' in key for key in changed)
        else:
            assert bool(changed) == scope['report'].accepted
        plain.load_state_dict(denoised, strict=True)
