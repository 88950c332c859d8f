"""TransReID-SSL checkpoints: each published layout, tensor by tensor."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denoiserep_ext.reid import Trainer
from denoiserep_ext.reid.backbones import build_transreid_vit_backbone
from denoiserep_ext.reid.checkpoint import PlainCheckpointer
from denoiserep_ext.reid.transreid import convert_state, resize_positions
from tests.helpers import first_of
from tests.reid.test_meta_arch import VIT, backbone, config

ROOT = Path(__file__).parents[2]
SIZE = [256, 128]


def model_config(depth, width, *overrides):
    return config(*backbone('build_transreid_vit_backbone', depth, width), *VIT,
                  'INPUT.SIZE_TRAIN', SIZE, 'INPUT.SIZE_TEST', SIZE, *overrides)


def published(depth, width, seed=0):
    """What the file of a trained backbone holds: the layout of the official model."""
    torch.manual_seed(seed)
    model = build_transreid_vit_backbone(model_config(depth, width))
    return {key: torch.rand_like(value) if value.is_floating_point() else value
            for key, value in model.state_dict().items()}


LAYOUTS = {
    'pretraining': lambda state: {'teacher': {
        **{f'module.backbone.{k}': v for k, v in state.items()},
        'module.head.mlp.0.weight': torch.ones(2)},
        'student': {}, 'epoch': 100},
    'exported': lambda state: {'model': {**state, 'head.weight': torch.ones(2)}},
    'state_dict': lambda state: {'state_dict': {**state, 'fc.weight': torch.ones(2),
                                                'fc.bias': torch.ones(2)}},
    'bare': lambda state: dict(state),
    'fine-tuned': lambda state: {
        **{f'base.{k}': v for k, v in state.items()}, 'base.fc.weight': torch.ones(2),
        'classifier.weight': torch.rand(9, 384),
        **{f'bottleneck.{k}': v + 0.5 for k, v in torch.nn.BatchNorm1d(384).state_dict().items()}},
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('depth, width', [('small', 384), ('small_ics', 384)])
def test_every_layout_loads_strictly(layout, depth, width):
    state = published(depth, width)
    wanted = build_transreid_vit_backbone(model_config(depth, width)).state_dict()
    conversion = convert_state(LAYOUTS[layout](state), wanted, (16, 8))
    converted = conversion.state
    assert converted.keys() == wanted.keys()
    for key, value in state.items():
        assert torch.equal(converted[key], value), key
    heads = {'pretraining': 1, 'exported': 1, 'state_dict': 2, 'bare': 0, 'fine-tuned': 7}[layout]
    assert f'{len(state)} backbone tensors, {heads} of heads' in str(conversion)


def test_base_sizes_load_too():
    for depth in ('base', 'base_ics'):
        state = published(depth, 768)
        assert convert_state(state, state, (16, 8)).state.keys() == state.keys()


def test_config_takes_the_published_file(tmp_path):
    state = published('small_ics', 384)
    torch.save(LAYOUTS['pretraining'](state), tmp_path / 'lup.pth')
    model = build_transreid_vit_backbone(model_config(
        'small_ics', 384, 'MODEL.BACKBONE.PRETRAIN', True,
        'MODEL.BACKBONE.PRETRAIN_PATH', str(tmp_path / 'lup.pth')))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    with pytest.raises(ValueError, match='needs MODEL.BACKBONE.PRETRAIN_PATH'):
        build_transreid_vit_backbone(model_config('small', 384, 'MODEL.BACKBONE.PRETRAIN', True))


@pytest.mark.parametrize('change, words', [
    (lambda s: s.pop('blocks.3.mlp.fc1.weight'), 'missing: blocks.3.mlp.fc1.weight'),
    (lambda s: s.update({'blocks.12.norm1.weight': torch.ones(384)}), 'left over: blocks.12.norm1'),
    (lambda s: s.update({'norm.weight': torch.ones(768)}),
     r'norm.weight is \[768\] there and \[384\] here'),
    (lambda s: s.pop('cls_token'), 'no TransReID-SSL backbone'),
    (lambda s: s.update({'patch_embed.conv.0.weight': torch.ones(1)}), 'DEPTH must end in _ics'),
])
def test_what_does_not_fit_is_named(change, words):
    state = published('small', 384)
    wanted = dict(state)
    change(state)
    with pytest.raises(ValueError, match=words):
        convert_state(state, wanted, (16, 8))


def test_positions_are_resized_from_both_grids():
    """A field that is linear over the image stays linear."""
    for rows, columns in ((14, 14), (16, 8)):
        y = (torch.arange(rows) + 0.5) / rows
        x = (torch.arange(columns) + 0.5) / columns
        field = torch.stack(torch.meshgrid(y, x, indexing='ij'), -1).reshape(1, -1, 2)
        positions = torch.cat([torch.full((1, 1, 2), 7.0), field], dim=1)
        resized = resize_positions(positions, (24, 8))
        assert resized.shape == (1, 1 + 24 * 8, 2)
        assert torch.equal(resized[:, 0], torch.full((1, 2), 7.0))
        inner = resized[0, 1:].reshape(24, 8, 2)[2:-2, 1:-1]
        expected = torch.stack(torch.meshgrid((torch.arange(24) + 0.5)[2:-2] / 24,
                                              (torch.arange(8) + 0.5)[1:-1] / 8, indexing='ij'), -1)
        torch.testing.assert_close(inner, expected, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match='197 patches, neither a square nor twice one'):
        resize_positions(torch.zeros(1, 198, 2), (16, 8))


def convert(*args):
    return subprocess.run([sys.executable, '-W', 'ignore', ROOT / 'tools/convert_transreid.py',
                           *map(str, args)], capture_output=True, text=True)


@pytest.mark.parametrize('layout, depth', first_of(
    [('pretraining', 'small_ics'), ('pretraining', 'small'), ('fine-tuned', 'small'),
     ('fine-tuned', 'small_ics')]))
def test_converted_file_is_a_checkpoint_of_baseline(tmp_path, depth, layout):
    """Embeddings of FastReID's model are those of the published backbone, before the neck."""
    published_file = LAYOUTS[layout](published(depth, 384))
    torch.save(published_file, tmp_path / 'in.pth')
    result = convert(tmp_path / 'in.pth', tmp_path / 'out.pth')
    assert result.returncode == 0, result.stderr
    assert f'MODEL.BACKBONE.DEPTH {depth};' in result.stdout
    cfg = model_config(depth, 384, 'MODEL.META_ARCHITECTURE', 'Baseline')
    state = torch.load(tmp_path / 'out.pth', weights_only=True)['model']
    model = Trainer.build_model(cfg).eval()
    PlainCheckpointer(model).load(str(tmp_path / 'out.pth'))
    backbone_only = build_transreid_vit_backbone(cfg).eval()
    backbone_only.load_state_dict(published(depth, 384))
    pixels = torch.rand(2, 3, 256, 128) * 255
    with torch.no_grad():
        expected = backbone_only((pixels - 127.5) / 127.5)[..., 0, 0]
        cfg.MODEL.PIXEL_MEAN = cfg.MODEL.PIXEL_STD = [127.5] * 3
        model.pixel_mean.fill_(127.5), model.pixel_std.fill_(127.5)
        torch.testing.assert_close(model({'images': pixels.clone()}), expected)
    if layout == 'fine-tuned':
        assert 'BNNeck taken, classifier taken; left: base.fc.weight' in result.stdout
        assert torch.equal(state['heads.bottleneck.0.weight'], torch.full((384,), 1.5))
        assert torch.equal(state['heads.weight'], published_file['classifier.weight'])
    else:
        assert 'BNNeck fresh: the file has none, classifier none' in result.stdout
    again = convert(tmp_path / 'in.pth', tmp_path / 'out.pth')
    assert again.returncode and 'exists: remove it' in again.stderr


def test_converting_something_else_is_an_error(tmp_path):
    torch.save({'model': {'conv.weight': torch.ones(1)}}, tmp_path / 'other.pth')
    for source, words in ((tmp_path / 'other.pth', 'no TransReID-SSL backbone'),
                          (tmp_path / 'gone.pth', 'no such checkpoint')):
        result = convert(source, tmp_path / 'out.pth')
        assert result.returncode and words in result.stderr and 'Traceback' not in result.stderr
    assert not (tmp_path / 'out.pth').exists()
