"""Several parts of a model in one DenoiseRepHook, and never two hooks."""
import pytest

from denoiserep_ext import unconvert_
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.mm.options import selection_of
from tests.mm.helpers import HOOK, build, classifier_config, equal, load, train, weights

STRONG = dict(update='posterior', step_stride=10, noise='relative')
LAYERS = r'layer4.*conv\d|fc'


def with_neck(work_dir, digits, **more):
    cfg = classifier_config(work_dir, digits, backbone='resnet', **more)
    cfg.model.neck = dict(type='LinearNeck', in_channels=32, out_channels=16, gap_dim=2)
    cfg.model.head.in_channels = 16
    return cfg


def test_several_targets_are_one_selection_with_steps_over_all(tmp_path, digits):
    """In the order of the model, whatever the order of the targets."""
    hook = dict(target=['neck', 'backbone'], layers=LAYERS, **STRONG)
    runner = train(with_neck(tmp_path / 'run', digits, epochs=1, hook=hook))
    steps = {name: layer.step for name, layer in denoise_layers(runner.model)}
    assert list(steps)[-1] == 'neck.fc' and len(steps) > 2
    assert all(name.startswith('backbone.layer4') for name in list(steps)[:-1])
    assert list(steps.values()) == [10 * (len(steps) - i) for i in range(len(steps))]
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(runner.model))

    live = runner.message_hub.get_scalar('val/accuracy/top1').current()
    saved = weights(tmp_path / 'run/epoch_1.pth')
    stock = build(with_neck(tmp_path / 'stock', digits, load_from=str(tmp_path / 'run/epoch_1.pth')))
    assert stock.test()['accuracy/top1'] == live
    raw = unconvert_(runner.model).state_dict()
    assert {k.rpartition('.')[0] for k in raw if not equal({k: raw[k]}, {k: saved[k]})} == set(steps)


def test_several_targets_resume(tmp_path, digits):
    hook = dict(target=['backbone', 'neck'], layers=LAYERS, **STRONG)
    train(with_neck(tmp_path / 'whole', digits, hook=hook))
    train(with_neck(tmp_path / 'resumed', digits, hook=hook, resume=True,
                    load_from=str(tmp_path / 'whole/epoch_1.pth')))
    assert equal(weights(tmp_path / 'whole/epoch_2.pth'), weights(tmp_path / 'resumed/epoch_2.pth'))


def test_frozen_trains_the_parts_of_several_targets_alone(tmp_path, digits):
    hook = dict(target=['backbone', 'neck'], layers=LAYERS, recipe='frozen')
    train(with_neck(tmp_path, digits, epochs=1, hook=hook))
    state = load(tmp_path / 'epoch_1.pth')
    assert {name.partition('.')[0] for name in state['denoiserep']['figures']['loss']} == {
        'backbone', 'neck'}


@pytest.mark.parametrize('hooks, remedy', [
    (({}, {}), 'keep one of them'),
    (({'target': 'backbone'}, {'target': 'neck'}), r"write one, with target=\['backbone', 'neck'\]"),
    (({'target': 'backbone'}, {'target': 'neck', 'layers': 'all'}),
     r"write one, with layers=\{'backbone': 'auto', 'neck': 'all'\} and no target"),
    (({'layers': {'neck': 'all'}}, {'layers': {'head': 'all'}}),
     r"write one, with target=\['neck', 'head'\]"),
])
def test_two_hooks_are_refused_with_the_one_to_write(tmp_path, digits, hooks, remedy):
    cfg = with_neck(tmp_path, digits)
    cfg.custom_hooks = [dict(type=HOOK, **options) for options in hooks]
    with pytest.raises(ValueError, match=f'There are 2 DenoiseRepHooks.*{remedy}'):
        train(cfg)
    assert not list(tmp_path.glob('*.pth'))


def test_two_hooks_leave_testing_alone(tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path, digits, load_from=baseline())
    plain = build(cfg).test()
    cfg.custom_hooks = [dict(type=HOOK), dict(type=HOOK)]
    assert build(cfg).test() == plain


@pytest.mark.parametrize('target', [[], 3, ['backbone', 3]])
def test_a_target_that_names_nothing_is_refused(tmp_path, digits, target):
    with pytest.raises(ValueError, match="target must be a part's name or a list of them"):
        build(with_neck(tmp_path, digits, hook=dict(target=target)))


def test_parts_are_named_once(tmp_path, digits):
    with pytest.raises(ValueError, match=r'layers names its parts itself \(neck\).*leave out target'):
        build(with_neck(tmp_path, digits, hook=dict(target=['backbone', 'neck'],
                                                    layers=dict(neck='all'))))
    with pytest.raises(ValueError, match="has no part 'nose' to convert: choose one of"):
        train(with_neck(tmp_path, digits, hook=dict(target=['backbone', 'nose'])))


def test_a_part_beside_a_backbone_that_was_built_converted_is_refused(tmp_path, digits):
    """The hook takes over what is there; it must not leave the rest of a list out in silence."""
    cfg = with_neck(tmp_path, digits, hook=dict(target=['backbone', 'neck'], layers=LAYERS))
    cfg.model.backbone = dict(type='denoiserep_ext.DenoiseRepBackbone', backbone=cfg.model.backbone)
    with pytest.raises(ValueError, match='converted already.*neck not: configure the plain backbone'):
        train(cfg)


@pytest.mark.parametrize('hook, selection', [
    (dict(), ('backbone', 'auto')),
    (dict(target='neck', layers='all'), ('neck', 'all')),
    (dict(layers=dict(neck='all')), ('', dict(neck='all'))),
    (dict(target='backbone', layers=dict(stem='all')), ('backbone', dict(stem='all'))),
    (dict(target=('backbone', 'neck'), layers=['fc1']), ('', dict(backbone=['fc1'], neck=['fc1']))),
])
def test_a_selection_is_a_part_and_the_layers_in_it(hook, selection):
    assert selection_of(hook) == selection
