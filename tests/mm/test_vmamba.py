"""VMamba in the toolboxes: built, initialised, trained, denoised and tested by the real Runner."""
import copy
from collections import OrderedDict
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint

from denoiserep_ext import VMamba, explicit_path
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.mm.launch import read_config
from tests.mm.helpers import build, classifier_config, equal, load, train, weights
from tests.models.test_vmamba_checkpoints import SMALL, as_trained, grouped, official, raw

ROOT = Path(__file__).parents[2] / 'configs'
STRONG = dict(update='posterior', step_stride=10, noise='relative')


@pytest.fixture(scope='module')
def start(tmp_path_factory, digits):
    """A classifier trained for two epochs."""
    folder = tmp_path_factory.mktemp('vmamba')
    train(classifier_config(folder, digits, backbone='vmamba', epochs=2))
    return str(folder / 'epoch_2.pth')


@pytest.mark.parametrize('write', [raw, grouped])
@pytest.mark.parametrize('toolbox', ['mmpretrain', 'mmdet', 'mmseg'])
def test_each_toolbox_builds_it_and_takes_official_weights(toolbox, write, tmp_path):
    import_module(toolbox)
    init_default_scope(toolbox)
    torch.save(write(official()), tmp_path / 'official.pth')
    backbone = MODELS.build(dict(
        type='denoiserep_ext.VMamba', arch=SMALL, out_indices=(0, 1),
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'official.pth'))))
    assert isinstance(backbone, VMamba)
    before = copy.deepcopy(backbone.state_dict())
    backbone.init_weights()
    state = official()
    assert not equal(before, backbone.state_dict())
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items()
               if key in state)
    backbone.init_weights()  # a host may call it twice


def build_backbone(**options):
    return MODELS.build(dict(type='denoiserep_ext.VMamba', arch=SMALL, out_indices=(1, ), **options))


@pytest.mark.parametrize('init_cfg, words', [
    (dict(prefix='backbone.', checkpoint='x.pth'), 'does not take prefix.*any prefix'),
    (dict(map_location='cuda', checkpoint='x.pth'), 'does not take map_location'),
    (dict(strict=False, revise_keys=[], checkpoint='x.pth'), 'does not take revise_keys, strict'),
    (dict(), 'checkpoint=None must be a file or URL'),
])
@pytest.mark.parametrize('listed', [False, True])
def test_options_of_init_cfg_that_would_do_nothing_are_refused(init_cfg, words, listed):
    init_cfg = dict(type='Pretrained', **init_cfg)
    with pytest.raises(ValueError, match=f'init_cfg: .*{words}'):
        build_backbone(init_cfg=[init_cfg] if listed else init_cfg)


def test_a_file_in_a_list_comes_after_other_initialisers(tmp_path):
    torch.save(raw(official()), tmp_path / 'official.pth')
    backbone = build_backbone(init_cfg=[
        dict(type='Pretrained', checkpoint=str(tmp_path / 'official.pth')),
        dict(type='Constant', layer=['Linear2d', 'LayerNorm2d'], val=0.5)])
    backbone.init_weights()
    state = official()
    assert all(torch.equal(value, state[key.replace('outnorm1', 'classifier.norm')])
               for key, value in backbone.state_dict().items())


def test_unsafe_reaches_the_file(tmp_path):
    torch.save(as_trained(official(), Path('/options')), tmp_path / 'odd.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'odd.pth'))
    with pytest.raises(ValueError, match='cannot be read safely.*unsafe=True .in Python and init_cfg'):
        build_backbone(init_cfg=init_cfg).init_weights()
    backbone = build_backbone(init_cfg=dict(init_cfg, unsafe=True))
    backbone.init_weights()
    assert torch.equal(backbone.outnorm1.bias, official()['classifier.norm.bias'])


def test_wrong_pretrained_files_stop_the_run(tmp_path, digits):
    torch.save(raw(official()), tmp_path / 'other.pth')
    cfg = classifier_config(tmp_path, digits, backbone='vmamba')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth'))
    with pytest.raises(ValueError, match='other.pth: the weights do not fit.*left over'):
        build(cfg).train()
    cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match='none.pth: no such checkpoint'):
        build(cfg).train()


def test_load_from_does_not_start_fresh_in_silence(tmp_path, digits):
    """mmengine loads non-strictly: an official file as load_from would only give warnings."""
    torch.save(raw(official()), tmp_path / 'official.pth')
    runner = build(classifier_config(tmp_path, digits, backbone='vmamba'))
    with pytest.raises(ValueError, match='backbone .VMamba.: there are no weights.*convert_vmamba'):
        load_checkpoint(runner.model, str(tmp_path / 'official.pth'))


def is_vector_or_bias(name, parameter):
    """What the authors' script for ImageNet leaves out."""
    return parameter.ndim == 1 or name.endswith('.bias')


def is_called_norm(name, parameter):
    """What their configs for dense tasks leave out, those of Swin."""
    return 'norm' in name


@pytest.mark.parametrize('config, left_out', [
    ('mmpretrain/imagenet/vmamba-tiny_16xb64_in1k.py', is_vector_or_bias),
    ('mmdet/coco/mask-rcnn_vmamba-t_fpn_1x_coco.py', is_called_norm),
    ('mmseg/ade20k/vmamba-tiny-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py', is_called_norm),
])
def test_weight_decay_is_the_published_one(config, left_out):
    wrapper = read_config(ROOT / config).optim_wrapper
    init_default_scope('mmengine')
    model = torch.nn.Sequential(OrderedDict(backbone=VMamba(SMALL, out_indices=(0, 1))))
    groups = build_optim_wrapper(model, dict(wrapper, type='OptimWrapper')).param_groups
    decay = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    base = wrapper.optimizer.weight_decay
    assert base > 0
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0 if left_out(name, parameter) else base), name


def test_other_initialisers_are_mmengines():
    backbone = MODELS.build(dict(type='denoiserep_ext.VMamba', arch=SMALL, out_indices=(1, ),
                                 init_cfg=dict(type='Constant', layer='Linear2d', val=0.5)))
    backbone.init_weights()
    assert (backbone.layers[0].blocks[0].mlp.fc1.weight == 0.5).all()
    assert not (backbone.patch_embed[0].weight == 0.5).any()


@pytest.mark.parametrize('recipe', ['joint', 'frozen', 'alternate'])
def test_denoised_training_saves_plain_weights(recipe, start, tmp_path, digits):
    hook = dict(STRONG, recipe=recipe)
    if recipe == 'alternate':
        hook.update(solver='sgd', period=1)
    cfg = classifier_config(tmp_path / 'run', digits, backbone='vmamba', hook=hook, load_from=start)
    runner = train(cfg)
    layers = [layer for _, layer in denoise_layers(runner.model)]
    assert len(layers) == 4 and all(layer.denoiser.fitted for layer in layers)
    saved = weights(tmp_path / 'run/epoch_2.pth')
    assert saved.keys() == weights(start).keys() and not equal(saved, weights(start))
    live = runner.message_hub.get_scalar('val/accuracy/top1').current()
    stock = build(classifier_config(tmp_path / 'stock', digits, backbone='vmamba',
                                    load_from=str(tmp_path / 'run/epoch_2.pth')))
    assert stock.test()['accuracy/top1'] == live
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad(), explicit_path(runner.model):
        explicit = runner.model.eval().backbone(images)[0]
    fused = stock.model.eval().backbone(images)[0]
    assert (fused - explicit).abs().max() / explicit.abs().max() < 1e-4
    if recipe == 'frozen':
        kept = [key for key in saved if '.mlp.' not in key]
        assert all(torch.equal(saved[key], weights(start)[key]) for key in kept)


def test_resumed_is_uninterrupted(start, tmp_path, digits):
    def config(name, **more):
        cfg = classifier_config(tmp_path / name, digits, backbone='vmamba', hook=STRONG, **more)
        cfg.model.backbone.drop_path_rate = 0.0  # draws from the global generator, which starts anew
        return cfg

    train(config('whole', load_from=start))
    train(config('resumed', resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth')))
    assert equal(weights(tmp_path / 'whole/epoch_2.pth'), weights(tmp_path / 'resumed/epoch_2.pth'))


@pytest.mark.slow
def test_the_digits_are_learned_by_the_shipped_config(tmp_path, digits):
    """Chance is 10 %."""
    cfg = Config.fromfile(ROOT / 'mmpretrain/digits/vmamba-d48_1xb64_digits.py')
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(digits)
        cfg[f'{split}_dataloader'].collate_fn = dict(type='default_collate')
    cfg.work_dir, cfg.log_level = str(tmp_path), 'ERROR'
    cfg.train_cfg.update(max_epochs=5, val_interval=5)
    cfg.param_scheduler.end = 5
    runner = train(cfg)
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() > 85
    assert load(Path((tmp_path / 'last_checkpoint').read_text()))['state_dict']
