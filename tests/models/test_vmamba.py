"""VMamba: its equations, sizes, freezing, and denoising."""
import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from denoiserep_ext import (
    DenoiseRepConfig,
    VMamba,
    convert_,
    explicit_path,
    fit_one_pass_,
    fuse_,
    fused_state_dict,
)
from denoiserep_ext.core.layer.layers import denoise_layers
from denoiserep_ext.models.vmamba_variants import ARCHITECTURES
from denoiserep_ext.models.vss_block import SS2D, DropPath, LayerNorm2d, Linear2d, VSSBlock
from tests.helpers import first_of

SMALL = dict(dims=16, depths=(1, 2, 1))

# Millions of parameters and billions of multiply-adds at 224 pixels, as released.
PUBLISHED = {'tiny': (30, 4.9), 'small': (50, 8.7), 'base': (89, 15.4), 'tiny-s2l5': (31, 4.9),
             'small-s1l20': (49, 8.6), 'base-s1l20': (87, 15.2)}


def small(**options):
    return VMamba(SMALL, **{'out_indices': (0, 1, 2), 'drop_path_rate': 0.0, **options})


def costs(model):
    """Parameters and multiply-adds of an ImageNet classifier at 224 pixels: convolutions and matrix
    products, and 9 N + 1 for each scanned value as the authors count (state-spaces/mamba#110)."""
    parameters = sum(p.numel() for p in model.parameters()) + 1000 * (model.channels[-1] + 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    scans = sum((9 * block.op.d_state + 1) * block.op.Ds.numel() * (56 // 2**i)**2
                for i, stage in enumerate(model.layers) for block in stage.blocks)
    return parameters, counter.get_total_flops() / 2 + scans


@pytest.mark.parametrize('name', PUBLISHED)
def test_size_is_the_published_one(name, record_error):
    parameters, flops = costs(VMamba(name).eval())
    millions, billions = PUBLISHED[name]
    assert round(parameters / 1e6) == millions
    record_error(f'multiply-adds of VMamba {name} against the published, relative',
                 abs(flops / 1e9 / billions - 1))
    assert flops / 1e9 == pytest.approx(billions, rel=0.02)


def test_every_released_variant_is_listed():
    assert PUBLISHED.keys() == ARCHITECTURES.keys()


def test_ss2d_is_its_equations():
    """Pixel by pixel, along four paths, with scalars and vectors only."""
    layer = SS2D(6, ssm_ratio=2.0, d_state=3, dt_rank=2).double()
    with torch.no_grad():
        layer.A_logs.add_(0.3 * torch.randn_like(layer.A_logs))
        layer.Ds.add_(torch.randn_like(layer.Ds))
    x = torch.randn(1, 6, 3, 4, dtype=torch.float64)
    inner = torch.einsum('oi,bihw->bohw', layer.in_proj.weight, x)
    inner = F.silu(F.conv2d(inner, layer.conv2d.weight, padding=1, groups=12))[0]
    rows = [(i, j) for i in range(3) for j in range(4)]
    columns = [(i, j) for j in range(4) for i in range(3)]
    read = torch.zeros_like(inner)
    for k, path in enumerate((rows, columns, rows[::-1], columns[::-1])):
        A = -layer.A_logs[12 * k:12 * k + 12].exp()
        h = torch.zeros(12, 3, dtype=torch.float64)
        for i, j in path:
            u = inner[:, i, j]
            low, B, C = (layer.x_proj_weight[k] @ u).split([2, 3, 3])
            step = F.softplus(layer.dt_projs_weight[k] @ low + layer.dt_projs_bias[k])
            h = torch.exp(step[:, None] * A) * h + (step * u)[:, None] * B
            read[:, i, j] += h @ C + layer.Ds[12 * k:12 * k + 12] * u
    expected = F.layer_norm(read.permute(1, 2, 0), (12, ), layer.out_norm.weight, layer.out_norm.bias)
    expected = (expected @ layer.out_proj.weight.T).permute(2, 0, 1)[None]
    assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_layers_act_on_channels():
    x = torch.randn(2, 5, 3, 4)
    linear, norm = Linear2d(5, 7), LayerNorm2d(5)
    assert linear.weight.shape == (7, 5)
    assert_close(linear(x), F.conv2d(x, linear.weight[:, :, None, None], linear.bias))
    with torch.no_grad():
        norm.weight.normal_(), norm.bias.normal_()
    mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt() * norm.weight.view(-1, 1, 1)
    assert_close(norm(x), expected + norm.bias.view(-1, 1, 1))


@pytest.mark.parametrize('size', [(32, 32), (37, 61), (8, 100), (1, 1)])
def test_any_image_size(size):
    maps = small()(torch.randn(2, 3, *size))
    expected = size
    for _ in range(2):
        expected = [-(-s // 2) for s in expected]
    for channels, features in zip((16, 32, 64), maps):
        assert features.shape == (2, channels, *expected)
        expected = [-(-s // 2) for s in expected]


def test_outputs_are_the_stages_asked_for():
    x = torch.randn(1, 3, 32, 32)
    every = small()
    for indices in ((1, ), (-1, ), 2, (0, -1), (2, 0)):
        some = small(out_indices=indices)
        some.load_state_dict(every.state_dict())
        kept = sorted({i % 3 for i in ([indices] if isinstance(indices, int) else indices)})
        ours, theirs = some(x), [every(x)[i] for i in kept]
        assert len(ours) == len(theirs)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_outputs_are_contiguous_as_any_backbones(layout):
    """Channels come last within; operators like RoIAlign read raw memory as [B, C, H, W]."""
    x = torch.randn(2, 3, 32, 48).contiguous(memory_format=layout)
    assert all(y.is_contiguous() for y in small()(x))


def test_no_images_give_empty_maps_and_zero_gradients():
    model = small().train()
    maps = model(torch.zeros(0, 3, 32, 48))
    assert [tuple(y.shape) for y in maps] == [(0, 16, 8, 12), (0, 32, 4, 6), (0, 64, 2, 3)]
    sum(y.sum() for y in maps).backward()
    assert all((p.grad == 0).all() for p in model.parameters())


def test_it_is_built_and_runs_on_meta():
    with torch.device('meta'):
        model = VMamba(SMALL, out_indices=(0, 2))
        maps = model(torch.zeros(2, 3, 32, 32))
    assert all(p.is_meta for p in model.parameters())
    assert [tuple(y.shape) for y in maps] == [(2, 16, 8, 8), (2, 64, 2, 2)]
    real = VMamba(SMALL, out_indices=(0, 2)).eval()
    model.load_state_dict(real.state_dict(), assign=True)
    x = torch.randn(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(model.eval()(x), real(x)))


def test_gradient_checkpointing_changes_nothing_but_memory():
    plain, checkpointed = small(drop_path_rate=0.5), small(drop_path_rate=0.5, with_cp=True)
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 32, 32)
    for model in (plain, checkpointed):
        torch.manual_seed(1)
        sum(y.square().mean() for y in model.train()(x)).backward()
    for (name, a), b in zip(plain.named_parameters(), checkpointed.parameters()):
        assert_close(a.grad, b.grad, msg=name)


def test_drop_path_leaves_out_whole_images_and_keeps_the_mean():
    layer = DropPath(0.25)
    x = torch.ones(4000, 2, 3)
    y = layer(x)
    assert_close(y.unique(), torch.tensor([0, 4 / 3]))
    assert torch.equal(y, y[:, :1, :1].expand_as(y))
    assert y.mean() == pytest.approx(1, abs=0.05)
    assert layer.eval()(x) is x
    rates = [m.rate for m in VMamba('tiny', drop_path_rate=0.26).modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.02 * i for i in range(14)])


@pytest.mark.parametrize('frozen, expected', [
    (-1, set()), (0, {'patch_embed'}), (2, {'patch_embed', 'layers.0', 'layers.1', 'outnorm0',
                                            'outnorm1'})])
def test_frozen_stages_stand_still(frozen, expected):
    model = small(frozen_stages=frozen, drop_path_rate=0.5).train()
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert still == {name for name, _ in model.named_parameters()
                     if any(name.startswith(f'{part}.') for part in expected)}
    for part in expected:
        assert not any(m.training for m in model.get_submodule(part).modules())
    assert model.training and model.layers[2].training
    sum(y.sum() for y in model(torch.randn(2, 3, 32, 32))).backward()


def test_copies_pickles_and_casts():
    model, x = small().eval(), torch.randn(1, 3, 32, 32)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
        assert all(torch.equal(a, b) for a, b in zip(twin(x), model(x)))
    for a, b in zip(copy.deepcopy(model).double()(x.double()), model(x)):
        assert_close(a.float(), b, rtol=1e-4, atol=1e-4)
    for half in (copy.deepcopy(model).bfloat16()(x.bfloat16()), autocast(model, x)):
        for a, b in zip(half, model(x)):
            assert (a.float() - b).abs().max() < 0.1 * b.abs().max()


def autocast(model, x):
    with torch.autocast('cpu', dtype=torch.bfloat16):
        return model(x)


@pytest.mark.parametrize('options, words', [
    (dict(arch='huge'), "arch='huge': choose tiny, small, base"),
    (dict(arch=dict(dims=16)), 'must have dims and depths'),
    (dict(arch=dict(**SMALL, window=7)), 'may have ssm_ratio'),
    (dict(arch=dict(**SMALL, kernel_size=4)), 'kernel_size=4 must be odd'),
    (dict(arch=dict(**SMALL, kernel_size='3')), 'kernel_size must be an integer'),
    (dict(arch=None), 'arch=None: choose tiny'),
    (dict(arch=2), 'arch=2: choose tiny'),
    (dict(arch=['tiny']), 'choose tiny'),
    (dict(arch=dict(SMALL, dims='16')), 'dims must be an integer'),
    (dict(arch=dict(SMALL, dims=[16, 32])), 'dims must be an integer'),
    (dict(arch=dict(SMALL, dims=0)), 'dims must be an integer >= 2'),
    (dict(arch=dict(SMALL, depths=2)), 'depths=2 must list the blocks'),
    (dict(arch=dict(SMALL, depths=())), 'must list the blocks'),
    (dict(arch=dict(SMALL, depths=(1, 0))), 'each of depths must be an integer >= 1'),
    (dict(arch=dict(SMALL, depths='22')), 'must list the blocks'),
    (dict(arch=dict(**SMALL, ssm_ratio='2')), 'ssm_ratio=.2. must be a number'),
    (dict(arch=dict(**SMALL, ssm_ratio=0.01)), 'ssm_ratio=0.01 must be a number that leaves'),
    (dict(arch=dict(**SMALL, mlp_ratio=float('nan'))), 'mlp_ratio=nan must be a number'),
    (dict(arch=dict(**SMALL, mlp_ratio=None)), 'mlp_ratio=None must be a number'),
    (dict(arch=dict(**SMALL, d_state=0)), 'd_state must be an integer >= 1'),
    (dict(arch=dict(**SMALL, dt_rank=1.5)), "dt_rank, if not 'auto', must be an integer"),
    (dict(arch=SMALL, in_channels=0), 'in_channels must be an integer >= 1'),
    (dict(arch=SMALL, out_indices='01'), 'each of out_indices must be an integer'),
    (dict(arch=SMALL, out_indices=None), 'each of out_indices must be an integer'),
    (dict(arch=SMALL, drop_path_rate='0.1'), r'must be in \[0, 1\)'),
    (dict(arch=SMALL, frozen_stages=None), 'frozen_stages must be an integer >= -1'),
    (dict(arch=SMALL, out_indices=(3, )), 'stages 0 to 2'),
    (dict(arch=SMALL, out_indices=()), 'stages 0 to 2'),
    (dict(arch=SMALL, drop_path_rate=1.0), r'must be in \[0, 1\)'),
    (dict(arch=SMALL, frozen_stages=4), 'from -1 .none. to 3'),
])
def test_arguments_that_cannot_be_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        VMamba(**{'out_indices': (0, ), **options})


def test_auto_is_the_mlp_of_every_block_and_projections_come_on_request():
    blocks = sum(isinstance(m, VSSBlock) for m in small().modules())
    names = [layer.name for layer in convert_(small(), DenoiseRepConfig()).converted]
    assert len(names) == 2 * blocks and all(n.endswith(('mlp.fc1', 'mlp.fc2')) for n in names)
    report = convert_(small(), DenoiseRepConfig(layers=['in_proj', 'out_proj', 'fc1', 'fc2']))
    assert len(report.converted) == 4 * blocks


@pytest.mark.slow
@pytest.mark.parametrize('arch, layers', first_of([
    ('tiny', 'auto'), ('tiny', '.*(in_proj|out_proj|fc1|fc2)'), ('small', 'auto')]))
def test_fused_equals_explicit(arch, layers, record_error):
    model = VMamba(arch, out_indices=(0, 1, 2, 3)).eval()
    stock, images = copy.deepcopy(model), torch.randn(2, 3, 96, 64)
    options = dict(layers=layers, update='posterior', step_stride=10, noise='relative')
    report = convert_(model, DenoiseRepConfig(**options), example_inputs=images)
    steps = [layer.step for layer in report.converted]
    assert steps == sorted(steps, reverse=True)
    with torch.no_grad():
        plain = stock(images)
        assert all(torch.equal(a, b) for a, b in zip(model(images), plain))
        fit_one_pass_(model, [images])
        with explicit_path(model):
            explicit = model(images)
        state = fused_state_dict(model)
        fuse_(model)
        fused = model(images)
        error = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(fused, explicit))
        record_error(f'VMamba {arch}, {layers}: fused against explicit, relative', error)
        assert error < 1e-4
        assert max((f - p).abs().max() / p.abs().max() for f, p in zip(fused, plain)) > 1e-3
        assert not list(denoise_layers(model))
        assert [type(m) for m in model.modules()] == [type(m) for m in stock.modules()]
        stock.load_state_dict(state, strict=True)
        assert all(torch.equal(a, b) for a, b in zip(stock(images), fused))


def test_linear2d_learns_while_denoised():
    """The task's gradient goes through the folded weight to the raw one."""
    model = small(out_indices=(2, )).train()
    convert_(model, DenoiseRepConfig(update='posterior', noise='relative', step_stride=20))
    x = torch.randn(2, 3, 32, 32)
    fit_one_pass_(model, [x])
    model(x)[0].square().mean().backward()
    layers = [layer for _, layer in denoise_layers(model)]
    assert layers and all(layer.weight.grad.abs().sum() > 0 for layer in layers)
    assert isinstance(layers[0], Linear2d) and isinstance(layers[0], nn.Linear)
