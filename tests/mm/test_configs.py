"""Every shipped config: what it says is read; the ones of a kind of their own are run.

A run is two iterations of the real Runner and one evaluation. By default that is ``DEFAULT``; with
``--all`` every recipe of every model, of which sizes and data sets of what is run elsewhere are marked
``exhaustive``. Controls are not run: they are ``joint`` configs without the hook, which is read. What
is read by default is every recipe of the models of ``DEFAULT``; with ``--all``, of all.
"""
import json
import re
import runpy
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config

from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.corruptions import parse
from denoiserep_ext.datasets.digits import write_image_folder
from denoiserep_ext.datasets.scenes import SceneConfig, write_scenes
from denoiserep_ext.mm.models import build_model
from denoiserep_ext.mm.options import without_denoiserep
from tests.mm.helpers import load, train
from tests.mm.miniature import COUNT, WRITERS
from tests.mm.shrink import shrink_

ROOT = Path(__file__).parents[2] / 'configs'
ZOO = runpy.run_path(str(ROOT.parent / 'docs/model_zoo.py'))
SHOWN = 'frozen-corruption'  # nothing is trained
METRIC = {'mmpretrain': 'accuracy/top1', 'mmdet': 'coco/bbox_mAP', 'mmseg': 'mIoU'}
CONFIGS = {}  # path by folder, stem of the baseline, kind
for _path in sorted(ROOT.glob('mm*/[!_]*/*.py')):
    CONFIGS[(str(_path.parent.relative_to(ROOT)), *ZOO['kind_of'](_path))] = _path.relative_to(ROOT)
DEFAULT = {
    ('mmpretrain/digits', 'resnet18-w16_1xb64_digits', 'joint'),
    ('mmpretrain/digits', 'resnet18-w16_1xb64_digits', SHOWN),
    ('mmpretrain/digits', 'vit-tiny_1xb64_digits', SHOWN),
    ('mmpretrain/digits', 'vmamba-d48_1xb64_digits', 'baseline'),
    ('mmpretrain/cifar10', 'vit-d512-l6-p4_1xb128_cifar10', 'frozen'),
    ('mmpretrain/pet', 'vit-base-p16_8xb8_pet-224px', 'alternate'),
    ('mmdet/scenes', 'mask-rcnn_r18-w16_fpn_1xb8_scenes', SHOWN),
    ('mmdet/coco', 'faster-rcnn_r50_fpn_1x_coco', 'joint'),
    ('mmseg/scenes', 'fcn_r18-w16-d16_1xb16_scenes', SHOWN),
    ('mmseg/ade20k', 'segformer_mit-b0_8xb2-160k_ade20k-512x512', 'joint'),
}
# Every recipe of these models is read by default.
READ = {key for key in CONFIGS if key[:2] in {other[:2] for other in DEFAULT}}
# Sizes and data sets of models that are run elsewhere, and models run in one recipe.
SISTER = re.compile('imagenet/(swin|swinv2|vmamba)-(small|base)|cub/(vit|swin)|pet/(?!vit)|swin-s-|'
                    'flowers102/(?!swinv2)|vmamba-([sb]|small|base)[-_]|fcn_r101|fcn_r50.*160k|mit-b1')
ONCE = re.compile('deit-small|cub/vmamba|pet/vit|flowers102/swinv2|vit_vit-b16')
# Walking through all layers of a large model takes minutes: one model of each kind.
WALKED = re.compile('imagenet/(vit-base|swinv2-tiny|vmamba-tiny)|mit-b0|/resnet18|fcn_r18|mask-rcnn_r18')


def of_a_run(key):
    """Marks of a test that runs a config."""
    folder, stem, kind = key
    if key in DEFAULT:
        return []
    name = f'{folder}/{stem}'
    rest = (SISTER.search(name) or kind == SHOWN and not WALKED.search(name)
            or ONCE.search(name) and kind not in ('baseline', 'joint'))
    return [pytest.mark.matrix, *([pytest.mark.exhaustive] if rest else [])]


def of_a_reading(key):
    """Marks of a test that reads a config."""
    return [] if key in READ else [pytest.mark.matrix]


def each(*kinds, marks=of_a_reading):
    """Parametrize by the keys of configs of some kinds."""
    return pytest.mark.parametrize('key', [
        pytest.param(key, id=str(path), marks=marks(key))
        for key, path in CONFIGS.items() if key[-1] in kinds])


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


@pytest.fixture
def config(key, data, tmp_path, monkeypatch):
    """A config to be run here, whole."""
    monkeypatch.chdir(data)
    pytest.importorskip(CONFIGS[key].parts[0])
    cfg = Config.fromfile(ROOT / CONFIGS[key])
    cfg.work_dir, cfg.experiment_name = str(tmp_path), CONFIGS[key].stem
    return cfg


@pytest.mark.slow
@each('baseline', 'joint', 'alternate', 'frozen', marks=of_a_run)
def test_config_trains_and_evaluates(key, config, tmp_path):
    folder, _, kind = key
    host = folder.partition('/')[0]
    shrink_(config, kind)

    runner = train(config)
    assert runner.iter == 2
    scalars = runner.message_hub
    assert scalars.get_scalar(f'val/{METRIC[host]}').current() >= -1
    if host == 'mmseg' and kind != 'baseline':
        assert 0 <= scalars.get_scalar('val/mBIoU').current() <= 100
    state = load(Path((tmp_path / 'last_checkpoint').read_text()))['state_dict']
    assert not [name for name in state if 'denoiser' in name]
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    layers = [layer for _, layer in denoise_layers(runner.model)]
    assert bool(layers) == (kind != 'baseline')
    assert all(layer.denoiser.fitted for layer in layers)
    assert [layer.step for layer in layers] == list(range(len(layers), 0, -1))


@pytest.mark.slow
@each(SHOWN, marks=of_a_run)
def test_config_takes_out_noise_that_is_shown(key, config, tmp_path):
    hook, = [h for h in config.custom_hooks if h['type'].endswith('DenoiseRepHook')]
    shrink_(config, SHOWN)
    hook.update(positions=4, held_out=0.5)

    runner = train(config)
    assert runner.iter == 0
    assert runner.message_hub.get_scalar(f'val/{METRIC[key[0].partition("/")[0]]}').current() >= -1
    state = load(Path((tmp_path / 'last_checkpoint').read_text()))['state_dict']
    assert state.keys() == build_model(without_denoiserep(config)).state_dict().keys()
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    report = json.loads((tmp_path / 'denoiserep_pairs.json').read_text())
    assert report['worse'] == list(hook.corruptions) and report['images'] == COUNT // 2


# What the files say

@cache
def read(path):
    """A config as a plain dict; not to be changed."""
    cfg = get_config(path) if '::' in str(path) else Config.fromfile(ROOT / path)
    return without_scope(cfg.to_dict())


def without_scope(node):
    """The same without the mark of the host that a part was inherited from."""
    if isinstance(node, dict):
        return {key: without_scope(value) for key, value in node.items() if key != '_scope_'}
    if isinstance(node, (list, tuple)):
        return type(node)(map(without_scope, node))
    return node


def hooks_of(cfg):
    """Our hooks and the others."""
    hooks = cfg.get('custom_hooks') or []
    ours = [hook for hook in hooks if hook['type'] == 'denoiserep_ext.DenoiseRepHook']
    return ours, [hook for hook in hooks if hook not in ours]


def without(cfg, *keys):
    return {key: value for key, value in cfg.items() if key not in keys}


def control_of(key):
    return read(CONFIGS[(*key[:2], 'control')])


@each('control')
def test_joint_is_the_control_and_one_hook(key):
    control, joint = read(CONFIGS[key]), read(CONFIGS[(*key[:2], 'joint')])
    ours, others = hooks_of(joint)
    assert hooks_of(control) == ([], others) and [hook['recipe'] for hook in ours] == ['joint']
    assert without(joint, 'custom_hooks') == without(control, 'custom_hooks')


@each('alternate')
def test_alternate_is_the_authors_training(key):
    cfg = read(CONFIGS[key])
    ours, others = hooks_of(cfg)
    assert [(h['recipe'], h['solver'], h['loss_weight']) for h in ours] == [('alternate', 'sgd', 0.01)]
    assert others == hooks_of(control_of(key))[1]
    length = cfg['train_cfg'].get('max_epochs') or cfg['train_cfg']['max_iters']
    blocks = length / ours[0]['period']
    assert blocks == int(blocks) and blocks % 2 == 0, 'predictors and backbone have the same'
    own = 'custom_hooks', 'param_scheduler', 'train_cfg'
    assert without(cfg, *own) == without(control_of(key), *own)


@each('frozen')
def test_frozen_is_one_epoch_that_changes_nothing_else(key):
    cfg = read(CONFIGS[key])
    assert [without(hook, 'type', 'layers') for hook in hooks_of(cfg)[0]] == [dict(recipe='frozen')]
    train_cfg = cfg['train_cfg']
    assert cfg['param_scheduler'] == []
    assert train_cfg.get('max_epochs') == 1 or train_cfg['max_iters'] == 1263  # 20,210 images by 16
    own = 'custom_hooks', 'param_scheduler', 'train_cfg', 'default_hooks'
    assert without(cfg, *own) == without(control_of(key), *own)


@each(SHOWN)
def test_shown_noise_is_taken_out_of_the_same_start(key):
    cfg = read(CONFIGS[key])
    hook, = hooks_of(cfg)[0]
    assert (hook['recipe'], hook['noise']) == ('frozen', 'corruption')
    assert [parse(name).severity for name in hook['corruptions']] == [3, 3, 3]
    embedded = (*key[:2], 'control') not in CONFIGS
    like = read(CONFIGS[(*key[:2], 'baseline' if embedded else 'control')])
    assert without(cfg, 'custom_hooks', 'load_from') == without(like, 'custom_hooks', 'load_from')
    assert cfg['load_from'] == (read(CONFIGS[(*key[:2], 'joint')]) if embedded else like)['load_from']


def rate(cfg):
    return cfg['optim_wrapper']['optimizer']['lr']


# Released by the authors of VMamba; those of ImageNet are converted as the configs say.
_RELEASES = 'https://github.com/MzeroMiko/VMamba/releases/download'
VMAMBA = {
    'mmdet': f'{_RELEASES}/%23v2det/mask_rcnn_vssm_fpn_coco_tiny_s_epoch_12.pth',
    'mmseg': f'{_RELEASES}/%23v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_tiny_s_iter_160000.pth',
}


@each('joint')
def test_start_is_published_or_trained_by_a_config_beside(key):
    """The very model, at a tenth of its learning rate, with its hooks."""
    cfg, (folder, stem, _) = read(CONFIGS[key]), key
    host, start = folder.partition('/')[0], cfg['load_from']
    if start.startswith('work_dirs/'):
        name, unit, number = re.fullmatch(r'work_dirs/(.*)/(epoch|iter)_(\d+)\.pth', start).groups()
        assert name == stem
        baseline = read(CONFIGS[folder, stem, 'baseline'])
        assert baseline['train_cfg']['max_epochs' if unit == 'epoch' else 'max_iters'] == int(number)
    elif 'vmamba' in stem:
        size = re.match('vmamba-[a-z]+', stem)
        assert start == VMAMBA.get(host, size and f'checkpoints/{size[0]}_in1k.pth')
        baseline = read(CONFIGS[folder, stem, 'baseline'])
    else:
        published = ZOO['metafiles'](host)[ZOO['place'](start)]
        baseline = read(f"{host}::{published['Config'].removeprefix('configs/')}")
    assert without(cfg['model'], 'pretrained') == without(baseline['model'], 'pretrained')
    assert '://' in (cfg['model'].get('pretrained') or '://'), 'no file that the user has to make'
    assert rate(cfg) == pytest.approx(rate(baseline) / 10)
    assert hooks_of(cfg)[1] == list(baseline.get('custom_hooks') or [])


@each('baseline')
def test_baseline_knows_nothing_of_denoiserep(key):
    cfg = read(CONFIGS[key])
    assert hooks_of(cfg)[0] == [] and cfg.get('load_from') is None
    folder, stem, _ = key
    if folder.partition('/')[2] not in ('digits', 'scenes'):
        size = re.search('vmamba-([sb]|small|base)[-_]', stem)
        alone = bool(size) and not folder.startswith('mmpretrain')  # S and B of dense tasks
        assert ((folder, stem, 'control') in CONFIGS) != alone


def test_every_model_comes_in_every_recipe():
    kinds = {}
    for folder, stem, kind in CONFIGS:
        kinds.setdefault((folder, stem), set()).add(kind)
    for model, found in kinds.items():
        if 'control' in found:
            assert found >= {'joint', 'alternate', 'frozen', SHOWN}, model
    assert len([model for model, found in kinds.items() if 'control' in found]) == 46
