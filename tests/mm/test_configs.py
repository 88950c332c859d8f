"""Every shipped config: loaded, built, two iterations of the real Runner, one evaluation."""
import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config

from denoiserep_ext.compare.measure import without_hook
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.datasets.digits import write_image_folder
from denoiserep_ext.datasets.scenes import SceneConfig, write_scenes
from denoiserep_ext.mm.models import build_model
from denoiserep_ext.mm.options import without_denoiserep
from tests.mm.helpers import load, train
from tests.mm.miniature import COUNT, WRITERS
from tests.mm.shrink import shrink_

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.glob('mm*/[!_]*/*.py'))
RECIPES = ('alternate', 'joint', 'frozen')
SHOWN = 'frozen-corruption'  # nothing is trained
METRIC = {'mmpretrain': 'accuracy/top1', 'mmdet': 'coco/bbox_mAP', 'mmseg': 'mIoU'}


def recipe_of(path):
    return next((r for r in (*RECIPES, SHOWN) if f'denoiserep-{r}_' in path.name), None)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder with every miniature data set under data/."""
    root = tmp_path_factory.mktemp('miniature')
    attributes = None
    for writer, place in WRITERS.values():
        attributes = writer(root / place) or attributes
    write_image_folder(root / 'data/digits')
    write_scenes(root / 'data/scenes', SceneConfig(train=8, val=2, test=2))
    from mmpretrain.datasets import CIFAR10
    patch = pytest.MonkeyPatch()
    for name, value in attributes.items():
        patch.setattr(CIFAR10, name, value)
    yield root
    patch.undo()


def is_matrix(path):
    """Whether a config's model and data are run by another one already."""
    sister = re.search('flowers102/|pet/|swin-large|swin-s-|mask-rcnn_swin|retinanet_|fcn_r101|'
                       'fcn_.*160k|mit-b1|vmamba-(small|base|s|b)', str(path))
    return recipe_of(path) in ('alternate', 'frozen') or sister


def marks(path):
    """Other recipes of models that other data sets have in all recipes come last."""
    if not is_matrix(path):
        return []
    rest = re.search('pet/|flowers102/|swin-s-|fcn_r101.*160k', str(path)) and recipe_of(path) != 'joint'
    return [pytest.mark.matrix, *([pytest.mark.exhaustive] if rest else [])]


@pytest.mark.slow
@pytest.mark.parametrize('path', [pytest.param(path, marks=marks(path)) for path in CONFIGS
                                  if recipe_of(path) != SHOWN], ids=str)
def test_config_trains_and_evaluates(path, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    pytest.importorskip(path.parts[0])
    cfg, recipe = Config.fromfile(ROOT / path), recipe_of(path)
    hooks = [h for h in cfg.get('custom_hooks', []) if h['type'].endswith('DenoiseRepHook')]
    assert [h.get('recipe', 'joint') for h in hooks] == ([] if recipe is None else [recipe])
    if recipe is not None:
        assert cfg.load_from, 'DenoiseRep starts from a trained baseline'
    shrink_(cfg, recipe)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), path.stem

    runner = train(cfg)
    assert runner.iter == 2
    scalars = runner.message_hub
    assert scalars.get_scalar(f'val/{METRIC[path.parts[0]]}').current() >= -1
    if path.parts[0] == 'mmseg' and recipe is not None:
        assert 0 <= scalars.get_scalar('val/mBIoU').current() <= 100
    state = load(Path((tmp_path / 'last_checkpoint').read_text()))['state_dict']
    assert not [key for key in state if 'denoiser' in key]
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    if recipe is not None:
        layers = [layer for _, layer in denoise_layers(runner.model)]
        assert layers and all(layer.denoiser.fitted for layer in layers)
        assert [layer.step for layer in layers] == list(range(len(layers), 0, -1))


@pytest.mark.slow
@pytest.mark.parametrize('path', [path for path in CONFIGS if recipe_of(path) == SHOWN], ids=str)
def test_config_takes_out_noise_that_is_shown(path, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    pytest.importorskip(path.parts[0])
    cfg = Config.fromfile(ROOT / path)
    assert cfg.load_from, 'DenoiseRep starts from a trained baseline'
    hook, = [h for h in cfg.custom_hooks if h['type'].endswith('DenoiseRepHook')]
    assert (hook.recipe, hook.noise) == ('frozen', 'corruption')
    shrink_(cfg, None)
    hook.update(positions=4, held_out=0.5)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), path.stem

    runner = train(cfg)
    assert runner.iter == 0
    assert runner.message_hub.get_scalar(f'val/{METRIC[path.parts[0]]}').current() >= -1
    state = load(Path((tmp_path / 'last_checkpoint').read_text()))['state_dict']
    assert state.keys() == build_model(without_denoiserep(cfg)).state_dict().keys()
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    report = json.loads((tmp_path / 'denoiserep_pairs.json').read_text())
    assert report['worse'] == list(hook.corruptions) and report['images'] == COUNT // 2


@pytest.mark.parametrize('folder, models', [
    ('mmpretrain/imagenet', 5), ('mmpretrain/cub', 2), ('mmpretrain/pet', 2),
    ('mmpretrain/flowers102', 2), ('mmpretrain/cifar10', 2), ('mmdet/coco', 8), ('mmseg/ade20k', 8),
])
def test_every_model_comes_in_three_recipes(folder, models):
    names = {recipe: {path.name.replace(f'denoiserep-{recipe}_', '') for path in CONFIGS
                      if str(path.parent) == folder and recipe_of(path) == recipe}
             for recipe in RECIPES}
    assert len(names['joint']) == models
    assert names['joint'] == names['alternate'] == names['frozen']


# Released by the authors of VMamba; that of ImageNet is converted as the config says.
_RELEASES = 'https://github.com/MzeroMiko/VMamba/releases/download'
VMAMBA = {
    'mmpretrain': 'checkpoints/vmamba-tiny_in1k.pth',
    'mmdet': f'{_RELEASES}/%23v2det/mask_rcnn_vssm_fpn_coco_tiny_s_epoch_12.pth',
    'mmseg': f'{_RELEASES}/%23v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_tiny_s_iter_160000.pth',
}


def stock_of(path):
    """The text after ``_base_`` of the joint config."""
    joint = (ROOT / path).with_name(re.sub('-(alternate|frozen)_', '-joint_', path.name)).read_text()
    return re.search(r"_base_ = \[?'(.*?)'", joint).group(1)


@pytest.mark.parametrize('path', [p for p in CONFIGS if recipe_of(p)], ids=str)
def test_start_is_published_or_trained_by_a_config_beside(path):
    """Checkpoints are those the host publishes for the very config that is inherited."""
    start = Config.fromfile(ROOT / path).load_from
    if start.startswith('work_dirs/'):
        folder, unit, number = re.fullmatch(r'work_dirs/(.*)/(epoch|iter)_(\d+)\.pth', start).groups()
        baseline = Config.fromfile(ROOT / path.parent / f'{folder}.py').train_cfg
        assert baseline['max_epochs' if unit == 'epoch' else 'max_iters'] == int(number)
        return
    if 'vmamba' in path.name:
        assert start == VMAMBA[path.parts[0]]
        return
    host, _, stock = stock_of(path).partition('::')
    assert published(host)[start] == f'configs/{stock}'


@cache
def published(host):
    """Config by weights, as the host's metafiles say."""
    index = Path(import_module(host).__file__).parent / '.mim/configs'
    found = {}
    for metafile in index.glob('*/metafile.y*ml'):
        content = yaml.safe_load(metafile.read_text())
        models = content['Models'] if isinstance(content, dict) else content
        found.update({model['Weights']: model['Config'] for model in models
                      if isinstance(model.get('Weights'), str)})
    return found


@pytest.mark.parametrize('path', [p for p in CONFIGS if recipe_of(p) == 'joint'], ids=str)
def test_stock_hooks_are_kept(path):
    """Adding ours must not drop the hooks of the config that is inherited (EMA, say)."""
    base = stock_of(path)
    if '::' in base:
        from mmengine.hub import get_config
        stock = get_config(base)
    else:
        stock = Config.fromfile((ROOT / path).parent / base)
    ours = without_hook(Config.fromfile(ROOT / path))
    assert list(ours.custom_hooks) == list(stock.get('custom_hooks') or [])
