"""Official checkpoints, made here in each of their layouts and namings."""
import copy
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from denoiserep_ext import VMamba, convert_
from denoiserep_ext.models.vmamba_checkpoints import arch_of, read_official
from denoiserep_ext.models.vmamba_classifier import convert_classifier

ROOT = Path(__file__).parents[2]
SMALL = dict(dims=16, depths=(1, 2))
LAYOUTS = {}


def layout(write):
    LAYOUTS[write.__name__] = write
    return write


def random_(model):
    """No two tensors alike, none as a fresh model has it."""
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    return model


def official():
    """The raw-parameter layout of an ImageNet model, written out name by name."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def add(name, *shape):
        state[name] = torch.randn(shape, generator=generator)

    def pair(name, channels):
        add(f'{name}.weight', channels)
        add(f'{name}.bias', channels)

    for index, (into, out) in {0: (3, 8), 5: (8, 16)}.items():
        add(f'patch_embed.{index}.weight', out, into, 3, 3)
        add(f'patch_embed.{index}.bias', out)
        pair(f'patch_embed.{index + 2}', out)
    for i, (D, depth) in enumerate(((16, 1), (32, 2))):
        R, N = -(-D // 16), 1
        for j in range(depth):
            block = f'layers.{i}.blocks.{j}'
            pair(f'{block}.norm', D)
            add(f'{block}.op.x_proj_weight', 4, R + 2 * N, D)
            add(f'{block}.op.dt_projs_weight', 4, D, R)
            add(f'{block}.op.dt_projs_bias', 4, D)
            add(f'{block}.op.A_logs', 4 * D, N)
            add(f'{block}.op.Ds', 4 * D)
            add(f'{block}.op.in_proj.weight', D, D)
            add(f'{block}.op.conv2d.weight', D, 1, 3, 3)
            pair(f'{block}.op.out_norm', D)
            add(f'{block}.op.out_proj.weight', D, D)
            pair(f'{block}.norm2', D)
            add(f'{block}.mlp.fc1.weight', 4 * D, D)
            add(f'{block}.mlp.fc1.bias', 4 * D)
            add(f'{block}.mlp.fc2.weight', D, 4 * D)
            add(f'{block}.mlp.fc2.bias', D)
    add('layers.0.downsample.1.weight', 32, 16, 3, 3)
    add('layers.0.downsample.1.bias', 32)
    pair('layers.0.downsample.3', 32)
    pair('classifier.norm', 32)
    add('classifier.head.weight', 5, 32)
    add('classifier.head.bias', 5)
    return state


def renamed(state, *rules):
    for pattern, name in rules:
        state = {re.sub(pattern, name, key): value for key, value in state.items()}
    return state


@layout
def raw(state):
    return {'model': state}


@layout
def grouped(state):
    """Directions one below the other in the weight of a grouped linear layer."""
    flat = {key: value.flatten(0, 1) if key.endswith(('x_proj_weight', 'dt_projs_weight')) else value
            for key, value in state.items()}
    return {'model': renamed(flat, (r'(x_proj|dt_projs)_weight', r'\1.weight'))}


@layout
def older_names(state):
    return {'model': renamed(
        state, (r'\.norm\.', '.ln_1.'), (r'classifier\.ln_1', 'norm'), (r'\.norm2\.', '.ln_2.'),
        (r'\.op\.', '.self_attention.'), ('classifier.head', 'head'),
        (r'^patch_embed\.0', 'patch_embed.proj'), (r'^patch_embed\.2', 'patch_embed.norm'))}


@layout
def numbered_projection(state):
    return {'model': renamed(state, (r'^patch_embed\.', 'patch_embed.proj.'))}


@layout
def parallel_with_1x1_convolutions(state):
    """As saved from DistributedDataParallel, linear layers as convolutions."""
    return {'model': {f'module.{key}': value[:, :, None, None]
                      if re.search(r'(in_proj|out_proj|fc\d)\.weight', key) else value
                      for key, value in state.items()}}


@layout
def bare(state):
    return state


@layout
def toolbox(state):
    """As MMPretrain's own training saves it."""
    backbone = {f'backbone.{key.replace("classifier.norm", "outnorm1")}': value
                for key, value in state.items() if 'head' not in key}
    return {'state_dict': {**backbone, 'head.fc.weight': state['classifier.head.weight']}}


@layout
def averaged_alone(state):
    """As the training script leaves it where only the average was kept."""
    return {'model_ema': state, 'max_accuracy_ema': 82.6}


def as_trained(state, options):
    """As the training script saves it: averaged weights beside the model's, its options with them."""
    return {'model': state, 'model_ema': {k: v + 1 for k, v in state.items()}, 'epoch': 264,
            'optimizer': {'state': {}, 'param_groups': []}, 'config': options}


@layout
def with_options_of_argparse(state):
    return as_trained(state, Namespace(cfg='vmamba.yaml', opts=None, ema=Namespace(decay=0.9999)))


@pytest.mark.parametrize('write', LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_loads_tensor_by_tensor(write, tmp_path):
    state = official()
    torch.save(write(state), tmp_path / 'official.pth')
    model = random_(VMamba(SMALL, out_indices=(1, )))
    converted = model.load_pretrained(tmp_path / 'official.pth')
    own = model.state_dict()
    expected = {key.replace('classifier.norm', 'outnorm1'): value for key, value in state.items()
                if 'head' not in key}
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[key], expected[key]) for key in own)
    heads = () if write in (toolbox, ) else ('classifier.head.bias', 'classifier.head.weight')
    assert tuple(sorted(converted.left)) == heads and not converted.fresh


@pytest.mark.parametrize('write', LAYOUTS.values(), ids=LAYOUTS)
def test_dense_backbones_get_norms_of_their_own(write, tmp_path):
    state = official()
    torch.save(write(state), tmp_path / 'official.pth')
    model = VMamba(SMALL, out_indices=(0, 1))
    converted = model.load_pretrained(tmp_path / 'official.pth')
    own = model.state_dict()
    fresh = {f'outnorm{i}.{kind}' for i in (0, 1) for kind in ('weight', 'bias')}
    if write is toolbox:  # trained with a norm at the end: that one is kept
        fresh -= {'outnorm1.weight', 'outnorm1.bias'}
        assert torch.equal(own['outnorm1.bias'], state['classifier.norm.bias'])
    assert set(converted.fresh) == fresh and 'fresh: outnorm0' in str(converted)
    assert torch.equal(own['outnorm0.weight'], torch.ones(16))
    assert all(torch.equal(own[key], state[key]) for key in own if key in state)


def test_dense_checkpoints_keep_their_norms(tmp_path, caplog):
    trained = random_(VMamba(SMALL, out_indices=(0, 1)))
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in trained.state_dict().items()}},
               tmp_path / 'detector.pth')
    model = VMamba(SMALL, out_indices=(0, 1))
    converted = model.load_pretrained(tmp_path / 'detector.pth')
    assert not converted.fresh and not converted.left
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), trained.parameters()))
    only_last = VMamba(SMALL, out_indices=(1, ))
    left = only_last.load_pretrained(tmp_path / 'detector.pth').left
    assert left == ('outnorm0.weight', 'outnorm0.bias')


class Detector(nn.Module):
    """A host's model, with a backbone among other parts."""

    def __init__(self, **options):
        super().__init__()
        self.backbone, self.head = VMamba(SMALL, out_indices=(0, 1), **options), nn.Linear(2, 2)


@pytest.mark.parametrize('write', [raw, grouped, older_names, parallel_with_1x1_convolutions])
def test_hosts_load_whole_models_in_any_layout(write):
    """Through load_state_dict alone, as Runners and Checkpointers do."""
    dense = {k: v for k, v in official().items() if 'classifier' not in k}
    for i, channels in enumerate((16, 32)):
        dense.update({f'outnorm{i}.weight': torch.randn(channels),
                      f'outnorm{i}.bias': torch.randn(channels)})
    expected = {f'backbone.{k}': v for k, v in dense.items()}
    state = {f'backbone.{k.removeprefix("module.")}': v for k, v in write(dense)['model'].items()}
    model = Detector()
    state.update({f'head.{k}': v for k, v in model.head.state_dict().items()})
    model.load_state_dict(state, strict=True)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in expected.items())


def test_non_strict_hosts_cannot_start_fresh():
    model = Detector()
    before = copy.deepcopy(model.state_dict())
    for state, words in (
            ({'model': official()}, 'backbone .VMamba.: there are no weights of a VMamba'),
            ({f'backbone.{k}': v for k, v in official().items() if 'conv2d' not in k},
             'missing: layers.0.blocks.0.op.conv2d.weight')):
        with pytest.raises(ValueError, match=words):
            model.load_state_dict(state, strict=False)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_fresh_norms_are_announced(caplog):
    model = Detector()
    model.load_state_dict({f'backbone.{k}': v for k, v in official().items()}, strict=False)
    assert 'fresh: outnorm0.weight' in caplog.text and 'left: classifier.norm.weight' in caplog.text


def test_denoised_backbones_load_plain_and_denoised_weights():
    model = random_(VMamba(SMALL, out_indices=(1, )))
    plain = copy.deepcopy(model.state_dict())
    convert_(model)
    full = model.state_dict()
    assert len(full) > len(plain)
    for state in (plain, full, {k: v for k, v in official().items() if 'classifier' not in k}
                  | {'outnorm1.weight': torch.ones(32), 'outnorm1.bias': torch.ones(32)}):
        model.load_state_dict(state, strict=True)
        assert all(torch.equal(model.state_dict()[k], v) for k, v in state.items())


def broken(change):
    state = official()
    change(state)
    return state


@pytest.mark.parametrize('change, words', [
    (lambda s: s.pop('layers.1.blocks.1.op.A_logs'), '1 missing: layers.1.blocks.1.op.A_logs'),
    (lambda s: s.pop('classifier.norm.bias'), '1 missing: outnorm1.bias'),
    (lambda s: s.update(absolute_pos_embed=torch.ones(1)), '1 left over: absolute_pos_embed'),
    (lambda s: s.update({'layers.0.blocks.0.op.x_proj_weight': torch.ones(4, 33, 16)}),
     r'x_proj_weight is \[4, 33, 16\] there and \[4, 3, 16\] here'),
    (lambda s: s.update({'layers.0.blocks.0.op.in_proj.weight': torch.ones(32, 16)}),
     r'in_proj.weight is \[32, 16\].*ssm_ratio.: 2.0'),
])
def test_what_does_not_fit_is_named(change, words, tmp_path):
    torch.save({'model': broken(change)}, tmp_path / 'odd.pth')
    model = VMamba(SMALL, out_indices=(1, ))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=f'(?s)odd.pth: the weights do not fit.*{words}'):
        model.load_pretrained(tmp_path / 'odd.pth')
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_half_a_norm_is_not_made_up(tmp_path):
    dense = VMamba(SMALL, out_indices=(0, 1)).state_dict()
    del dense['outnorm0.bias']
    torch.save(dense, tmp_path / 'half.pth')
    with pytest.raises(ValueError, match='1 missing: outnorm0.bias'):
        VMamba(SMALL, out_indices=(0, 1)).load_pretrained(tmp_path / 'half.pth')


def test_options_of_yacs_are_left_out(tmp_path, monkeypatch):
    """A frozen CfgNode as it is pickled: a dict with attributes, a set among them. Reading such a file
    needs no yacs."""
    class CfgNode(dict):
        pass

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    options = CfgNode(MODEL=CfgNode(NAME='vssm', DEPTHS=[2, 2, 8, 2]), BASE=[''])
    options.__dict__.update(__immutable__=True, __deprecated_keys__={'OLD'}, __renamed_keys__={})
    state = official()
    with monkeypatch.context() as installed:
        for name in ('yacs', 'yacs.config'):
            installed.setitem(sys.modules, name, ModuleType(name))
        sys.modules['yacs.config'].CfgNode = CfgNode
        torch.save(as_trained(state, options), tmp_path / 'trained.pth')
    read = read_official(tmp_path / 'trained.pth')
    assert read.keys() == state.keys() and all(torch.equal(read[k], state[k]) for k in state)


def test_code_in_a_file_is_run_on_request_alone(tmp_path):
    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'attacked', )

    torch.save(as_trained(official(), Attack()), tmp_path / 'evil.pth')
    model = VMamba(SMALL, out_indices=(1, ))
    with pytest.raises(ValueError,
                       match='evil.pth cannot be read safely: .*Path.*you trust.*unsafe=True'):
        model.load_pretrained(tmp_path / 'evil.pth')
    assert not (tmp_path / 'attacked').exists()
    model.load_pretrained(tmp_path / 'evil.pth', unsafe=True)
    assert (tmp_path / 'attacked').exists()


def test_an_only_output_before_the_last_stage_has_a_norm_of_its_own(tmp_path):
    state = official()
    torch.save(raw(state), tmp_path / 'official.pth')
    model = VMamba(SMALL, out_indices=(0, ))
    converted = model.load_pretrained(tmp_path / 'official.pth')
    assert converted.fresh == ('outnorm0.weight', 'outnorm0.bias')
    assert 'classifier.norm.weight' in converted.left
    own = model.state_dict()
    assert all(torch.equal(own[key], state[key]) for key in own if key in state)


def test_fresh_norms_are_ones_and_zeros_whatever_was_there(tmp_path):
    torch.save(raw(official()), tmp_path / 'official.pth')
    model = random_(VMamba(SMALL, out_indices=(0, 1)))
    model.load_pretrained(tmp_path / 'official.pth')
    assert (model.outnorm0.weight == 1).all() and (model.outnorm1.bias == 0).all()


def test_a_model_on_meta_takes_a_host_s_weights_and_refuses_a_file(tmp_path):
    with torch.device('meta'):
        model = VMamba(SMALL, out_indices=(0, 1))
    torch.save(raw(official()), tmp_path / 'official.pth')
    with pytest.raises(ValueError, match='on the meta device.*to_empty'):
        model.load_pretrained(tmp_path / 'official.pth')
    model.load_state_dict(official(), strict=True, assign=True)
    assert not any(p.is_meta for p in model.parameters()) and (model.outnorm0.weight == 1).all()


@pytest.mark.parametrize('write', [raw, grouped, older_names])
def test_releases_with_a_gate_are_named_as_such(write, tmp_path):
    state = {key: torch.cat([value, value]) if key.endswith('in_proj.weight') else value
             for key, value in official().items()}
    torch.save(write(state), tmp_path / 'gated.pth')
    with pytest.raises(ValueError, match='gated.pth: they are of a VMamba with a gate'):
        VMamba(SMALL, out_indices=(1, )).load_pretrained(tmp_path / 'gated.pth')
    with pytest.raises(ValueError, match='of a VMamba with a gate'):
        convert_classifier(write(state)['model'])


def test_files_that_are_none_are_named(tmp_path):
    model = VMamba(SMALL, out_indices=(1, ))
    with pytest.raises(FileNotFoundError, match='none.pth: no such checkpoint'):
        model.load_pretrained(tmp_path / 'none.pth')
    torch.save({'model': official()}, tmp_path / 'cut.pth')
    whole = (tmp_path / 'cut.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match='cut.pth is damaged or not a checkpoint'):
        model.load_pretrained(tmp_path / 'cut.pth')
    torch.save({'model': nn.Linear(2, 2).state_dict()}, tmp_path / 'foreign.pth')
    with pytest.raises(ValueError, match='foreign.pth: there are no weights of a VMamba among weight'):
        model.load_pretrained(tmp_path / 'foreign.pth')


def test_released_architectures_are_recognised(tmp_path):
    state = VMamba('tiny', out_indices=(3, )).state_dict()
    assert arch_of(state) == 'tiny'
    torch.save(state, tmp_path / 'tiny.pth')
    with pytest.raises(ValueError, match="They are of arch='tiny'"):
        VMamba('small').load_pretrained(tmp_path / 'tiny.pth')
    odd = VMamba(dict(dims=16, depths=(2, ), d_state=3, mlp_ratio=2.0), out_indices=(0, ))
    assert arch_of(odd.state_dict()) == dict(dims=16, depths=(2, ), ssm_ratio=1.0, d_state=3,
                                             kernel_size=3, mlp_ratio=2.0)


def test_urls_are_downloaded_once(tmp_path, monkeypatch):
    torch.save({'model': official()}, tmp_path / 'there.pth')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    url = (tmp_path / 'there.pth').as_uri()
    monkeypatch.setattr('denoiserep_ext.models.vmamba_checkpoints._URL', ('file://', ))
    first = read_official(url)
    (tmp_path / 'there.pth').unlink()
    again = read_official(url)
    assert (tmp_path / 'hub/checkpoints/there.pth').is_file()
    assert all(torch.equal(first[k], again[k]) for k in official())


@pytest.mark.parametrize('write', [raw, grouped, older_names])
def test_classifiers_are_converted_whole(write):
    state = official()
    arch, tensors = convert_classifier(write(state)['model'])
    assert {k: arch[k] for k in SMALL} == SMALL and len(tensors) == len(state)
    assert torch.equal(tensors['head.fc.weight'], state['classifier.head.weight'])
    assert torch.equal(tensors['backbone.outnorm1.bias'], state['classifier.norm.bias'])
    model = VMamba(arch, out_indices=(1, ))
    model.load_state_dict({k.removeprefix('backbone.'): v for k, v in tensors.items()
                           if k.startswith('backbone.')}, strict=True)


@pytest.mark.parametrize('change, words', [
    (lambda s: s.pop('classifier.head.bias'), 'classifier.head.bias missing'),
    (lambda s: s.update({'outnorm0.weight': torch.ones(16)}), 'left over: .*outnorm0.weight'),
    (lambda s: [s.pop(k) for k in list(s) if k.startswith('layers.0.')], 'do not fit'),
])
def test_what_is_no_whole_classifier_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        convert_classifier(broken(change))


def run(*arguments):
    return subprocess.run([sys.executable, ROOT / 'tools/convert_vmamba.py', *map(str, arguments)],
                          capture_output=True, text=True)


def test_tool_writes_a_classifier_once(tmp_path):
    torch.save(grouped(official()), tmp_path / 'official.pth')
    out = tmp_path / 'sub/mmpretrain.pth'
    result = run(tmp_path / 'official.pth', out)
    assert result.returncode == 0, result.stderr
    assert f'{len(official())} tensors, all of the file' in result.stdout
    written = torch.load(out, weights_only=True)['state_dict']
    assert written.keys() == convert_classifier(official())[1].keys()
    again = run(tmp_path / 'official.pth', out)
    assert again.returncode and 'exists: remove it or choose another name' in again.stderr
    odd = run(out, tmp_path / 'other.pth')
    assert odd.returncode and 'Traceback' not in odd.stderr
    assert not (tmp_path / 'other.pth').exists()


def test_state_dicts_are_left_as_they_were():
    state = {f'backbone.{k}': v for k, v in grouped(official())['model'].items()}
    before = dict(state)
    Detector().load_state_dict(state, strict=False)
    assert state == before and list(state) == list(before)
