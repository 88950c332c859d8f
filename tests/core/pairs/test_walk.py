"""The walk from layer to layer against a slow, plain one, and what it leaves behind."""
import copy
import gc
import pickle
import weakref
from collections import Counter
from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from denoiserep_ext import PairConfig, denoise_pairs_
from denoiserep_ext.core.pairs import collecting, regression, replay, store


class Sum(nn.Module):
    """A skip connection's sum, as a module so that the reference can look at it."""

    def forward(self, branch, skip):
        return branch + skip


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, padding_mode='reflect')
        self.gamma = nn.Parameter(torch.rand(width, 1, 1) + 0.5)
        self.sum = Sum()

    def forward(self, x):
        y = self.conv2(self.bn1(self.conv1(x)).relu_())
        return self.sum(y * self.gamma, x).relu_()


class Mixer(nn.Module):
    """Channels last, the way transformers have them: a branch that is moved about before the sum."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 12), nn.Linear(12, width)
        self.sum = Sum()

    def forward(self, x):
        y = self.fc2(F.gelu(self.fc1(self.norm(x.permute(0, 2, 3, 1)))))
        return self.sum(y.permute(0, 3, 1, 2), x)


class Net(nn.Module):
    """Stem, two kinds of blocks, a long connection past them, and a head called twice."""

    def __init__(self, width=6):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width),
                                  nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(width), Mixer(width))
        self.merge = nn.Conv2d(2 * width, width, 1)
        self.shared = nn.Conv2d(width, 4, 3, padding=1)
        self.linear = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        y = self.merge(torch.cat([self.blocks(x), x], 1))
        levels = [self.shared(y), self.shared(F.avg_pool2d(y, 2))]
        return self.linear(torch.cat([level.mean((2, 3)) for level in levels], 1))


def net(seed=0):
    torch.manual_seed(seed)
    model = Net().double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


def images(count=10, size=8, seed=1):
    torch.manual_seed(seed)
    clean = torch.randn(count, 3, size, size, dtype=torch.float64)
    clean = clean + 2 * F.avg_pool2d(clean, 3, 1, 1)
    return clean, [clean + 0.7 * torch.randn_like(clean), 0.3 * clean]


def batches(clean, worse, size=4):
    return [(c, list(w)) for c, *w in zip(*(x.split(size) for x in (clean, *worse)))]


# --- a plain reference: two whole forwards per layer and image, every position, one least squares

SKIPS = {'blocks.0.conv2': ('blocks.0.sum', 'blocks.0.gamma'), 'blocks.1.fc2': ('blocks.1.sum', None)}
NORMS = {'blocks.0.conv1': 'blocks.0.bn1'}


def watched(model, name, x):
    """Inputs, outputs and skip values of one layer, call by call."""
    found, skips, handles = [], [], []
    handles.append(model.get_submodule(name).register_forward_hook(
        lambda _m, args, out: found.append((args[0].clone(), out.clone()))))
    if name in SKIPS:
        handles.append(model.get_submodule(SKIPS[name][0]).register_forward_hook(
            lambda _m, args, out: skips.append(args[1].clone())))
    output = model(x)
    for handle in handles:
        handle.remove()
    return found, skips, output


def rows(layer, x, y):
    """Every patch [n, G, d] and output [n, out]."""
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, 1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    mode = 'constant' if layer.padding_mode == 'zeros' else layer.padding_mode
    padded = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    return (patches.transpose(1, 2).reshape(-1, layer.groups, patches.shape[1] // layer.groups),
            y.flatten(2).transpose(1, 2).reshape(-1, y.shape[1]))


def reference_(model, clean, worse, ridge, clean_weight, skip, order):
    trained = copy.deepcopy(model)
    for name in order:
        layer = model.get_submodule(name)
        target, target_skip, _ = watched(trained, name, clean)
        scale = torch.ones(layer.weight.shape[0], dtype=torch.float64)
        if skip and name in SKIPS and SKIPS[name][1]:
            scale = model.blocks[0].gamma.detach().flatten()
        streams = [(w, 1 / (1 + clean_weight) / len(worse)) for w in worse]
        streams.append((clean, clean_weight / (1 + clean_weight)))
        everything = []
        for x, share in streams:
            now, now_skip, _ = watched(model, name, x)
            parts = []
            for call, ((xi, yi), (_, ti)) in enumerate(zip(now, target)):
                reads, given = rows(layer, xi, yi)
                _, wanted = rows(layer, xi, ti)
                lack = (wanted - given) * scale
                if skip and name in SKIPS:
                    move = (0, 2, 3, 1)
                    lack = lack + (target_skip[call] - now_skip[call]).permute(move).reshape(lack.shape)
                parts.append((reads, lack))
            reads, lack = (torch.cat(p) for p in zip(*parts))
            everything.append((reads, lack, share / len(reads)))
        groups = everything[0][0].shape[1]
        bias = layer.bias is not None or name in NORMS
        mean = sum(share * x.sum(0) for x, _, share in everything)
        lacks = sum(share * r.sum(0) for _, r, share in everything).view(groups, -1)
        if not bias:
            mean, lacks = torch.zeros_like(mean), torch.zeros_like(lacks)
        for g in range(groups):
            s = sum(share * (x[:, g] - mean[g]).T @ (x[:, g] - mean[g]) for x, _, share in everything)
            c = sum(share * (r.view(len(r), groups, -1)[:, g] - lacks[g]).T @ (x[:, g] - mean[g])
                    for x, r, share in everything)
            pull = ridge * s.trace() / len(s) * torch.eye(len(s), dtype=s.dtype)
            step = c @ torch.linalg.inv(s + pull)
            shift = lacks[g] - step @ mean[g]
            out = slice(g * len(c), (g + 1) * len(c))
            with torch.no_grad():
                layer.weight[out] += (step / scale[out, None]).view(layer.weight[out].shape)
                if layer.bias is not None:
                    layer.bias[out] += shift / scale[out]
                elif bias:
                    model.get_submodule(NORMS[name]).running_mean[out] -= shift / scale[out]
    return model


ORDER = ('stem.0', 'blocks.0.conv1', 'blocks.0.conv2', 'blocks.1.fc1', 'blocks.1.fc2', 'merge', 'shared',
         'linear')
ALL = {'layers': 'all', 'positions': 10**6, 'held_out': 0.0}


@pytest.mark.parametrize('skip', [True, False])
@pytest.mark.parametrize('clean_weight', [1.0, 0.25])
@torch.no_grad()
def test_the_walk_is_the_plain_one(skip, clean_weight):
    clean, worse = images()
    wanted = reference_(net(), clean, worse, 1e-2, clean_weight, skip, ORDER)
    model = net()
    report = denoise_pairs_(model, batches(clean, worse), PairConfig(
        ridge=1e-2, skip=skip, clean_weight=clean_weight, **ALL))
    assert [layer.name for layer in report.changed] == list(ORDER)
    assert {layer.name for layer in report if layer.skip} == (set(SKIPS) if skip else set())
    assert {layer.name for layer in report if layer.bias == 'norm'} == set(NORMS)
    for (key, value), other in zip(model.state_dict().items(), wanted.state_dict().values()):
        torch.testing.assert_close(value, other, rtol=1e-7, atol=1e-9,
                                   msg=lambda m, key=key: f'{key}: {m}')
    moved = [key for key, value in net().state_dict().items()
             if not torch.equal(value, model.state_dict()[key])]
    assert 'blocks.0.bn1.running_mean' in moved and 'stem.1.running_mean' not in moved


@pytest.mark.parametrize('layer, size', [
    (nn.Conv2d(3, 5, 3, 2, 1), 9), (nn.Conv2d(4, 6, (2, 3), dilation=2, groups=2, bias=False), 9),
    (nn.Conv2d(3, 5, 3, padding=1, padding_mode='circular'), 6), (nn.Conv2d(4, 4, 3, groups=4), 6)])
@torch.no_grad()
def test_a_fused_layer_denoises_its_patch_and_then_is_the_trained_one(layer, size, record_error):
    """W E[x_c | x], the linear denoiser of the patch fitted on its own, against the fitted weights."""
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).double()
    clean = torch.randn(40, layer.in_channels, size, size, dtype=torch.float64)
    worse = clean + torch.randn_like(clean) + 0.3
    trained, model = copy.deepcopy(layer), nn.Sequential(layer)
    denoise_pairs_(model, [(clean, worse)], PairConfig(ridge=0.0, clean_weight=0.0, **ALL))
    x, y = rows(trained, worse, trained(worse))
    x_c, _ = rows(trained, clean, y.new_zeros(1).expand(trained(clean).shape))
    outputs = []
    for g in range(trained.groups):
        own = torch.cat([x[:, g], torch.ones(len(x), 1, dtype=x.dtype)], 1) if trained.bias is not None \
            else x[:, g]
        denoised = own @ torch.linalg.lstsq(own, x_c[:, g]).solution
        weight = trained.weight.flatten(1).chunk(trained.groups)[g]
        outputs.append(denoised @ weight.T)
    wanted = torch.cat(outputs, 1)
    if trained.bias is not None:
        wanted = wanted + trained.bias
    _, given = rows(layer, worse, model(worse))
    record_error('pairs: fused against denoise, then embed', (given - wanted).abs().max())
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize('options', [{}, {'ridge': 1e-4}, {'form': 'pointwise'}, {'form': 'bias'},
                                     {'form': 'scale'}])
def test_no_noise_changes_nothing(options):
    clean, _ = images()
    model = net()
    denoise_pairs_(model, [(clean, clean.clone())], PairConfig(**{**ALL, **options}))
    for key, value in net().state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


def test_clean_images_alone_change_nothing():
    clean, worse = images()
    model = net()
    denoise_pairs_(model, batches(clean, worse), PairConfig(ridge=1e-4, clean_weight=inf, **ALL))
    for key, value in net().state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


def test_nothing_is_left_behind():
    clean, worse = images()
    model = net()
    model.train()
    model.stem.eval()
    keys = {key: (value.shape, value.dtype) for key, value in model.state_dict().items()}
    before = [(type(m), m.training, len(m._forward_hooks), len(m._forward_pre_hooks), sorted(m.__dict__))
              for m in model.modules()]
    parameters = list(model.parameters())
    state = torch.get_rng_state()
    report = denoise_pairs_(model, batches(clean, worse), PairConfig(ridge=1e-2, **ALL))
    assert torch.equal(state, torch.get_rng_state())
    assert report.accepted
    assert list(keys) == list(model.state_dict())
    assert keys == {key: (value.shape, value.dtype) for key, value in model.state_dict().items()}
    assert before == [(type(m), m.training, len(m._forward_hooks), len(m._forward_pre_hooks),
                       sorted(m.__dict__)) for m in model.modules()]
    assert all(a is b for a, b in zip(parameters, model.parameters()))
    pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize('damping', [0.5, 0.1])
def test_damping_takes_a_share_of_the_step(damping):
    clean, worse = images()
    whole, part = nn.Sequential(nn.Conv2d(3, 4, 3)).double(), nn.Sequential(nn.Conv2d(3, 4, 3)).double()
    part.load_state_dict(whole.state_dict())
    plain = copy.deepcopy(whole.state_dict())
    denoise_pairs_(whole, batches(clean, worse), PairConfig(ridge=1e-2, **ALL))
    denoise_pairs_(part, batches(clean, worse), PairConfig(ridge=1e-2, damping=damping, **ALL))
    for key, value in plain.items():
        wanted = value + damping * (whole.state_dict()[key] - value)
        torch.testing.assert_close(part.state_dict()[key], wanted, rtol=1e-12, atol=1e-14)


def test_what_is_finished_is_not_computed_again():
    """A layer of a part with n layers runs at most once for its targets, once per stream and layer of
    its part, once per stream for the part's outputs, and in the small forwards before."""
    clean, worse = images(8)
    model, counts = net(), {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            def counted(x, *args, name=name, conv=layer._conv_forward):
                counts[name] = counts.get(name, 0) + len(x)
                return conv(x, *args)
            layer._conv_forward = counted
    denoise_pairs_(model, batches(clean, worse), PairConfig(ridge=1e-2, **ALL))
    streams, small = 3, 3  # two corruptions and the clean images; traced on two images and on one
    assert len(counts) == 5
    for name, seen in counts.items():
        own = 2 if name.startswith('blocks.0') else 1
        calls = 2 if name == 'shared' else 1
        assert seen <= calls * (8 * (1 + streams * (own + 1)) + small), name
    assert counts['stem.0'] == 8 * (1 + 2 * streams) + small  # exactly


def test_what_nothing_reads_any_more_is_not_kept(monkeypatch):
    """Of a part that is a convolution, a norm and a pooling only its last output; of the last part
    nothing, nor is it run once more."""
    kept = []
    keep = store.Store._keep
    monkeypatch.setattr(store.Store, '_keep', lambda self, x: kept.append(x.shape) or keep(self, x))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Conv2d(4, 5, 1))
    seen = []
    model[3].register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    images = torch.randn(8, 3, 8, 8)
    denoise_pairs_(model, [(images, images + 1)], PairConfig(ridge=1e-2, held_out=0.0))
    assert kept == [images.shape] * 2 + [(8, 4, 3, 3)] * 3
    assert seen.count(8) == 3  # targets, and the fit on clean and worse images


@pytest.mark.parametrize('held_out', [0.0, 0.4])
def test_progress_goes_on_to_its_end(held_out):
    clean, worse = images(40)
    shares, model = [], net()
    denoise_pairs_(model, batches(clean, worse), PairConfig(held_out=held_out),
                   progress=lambda share, _: shares.append(share))
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert max(b - a for a, b in zip(shares, shares[1:])) <= 1 / 15, 'no step is passed over'


def test_sums_and_targets_of_finished_layers_are_freed_at_once(monkeypatch):
    """Without waiting for Python to look for reference cycles."""
    alive, most = weakref.WeakSet(), []
    for kind in (collecting.Collector, regression.PairSums):
        def init(self, *args, original=kind.__init__, **kwargs):
            original(self, *args, **kwargs)
            alive.add(self)
            most.append(Counter(type(each).__name__ for each in alive))
        monkeypatch.setattr(kind, '__init__', init)
    clean, worse = images(8)
    model = net()
    gc.collect()
    gc.disable()
    try:
        denoise_pairs_(model, batches(clean, worse), PairConfig(ridge=1e-2, **ALL))
        assert not alive
    finally:
        gc.enable()
    assert len(most) > 20
    assert max(count['PairSums'] for count in most) == 4  # of one layer
    assert max(count['Lacks'] for count in most) == 1
    assert max(count['Targets'] for count in most) == 1  # of one part


@pytest.mark.parametrize('memory', [0, 20_000])
def test_a_small_memory_gives_the_same_bits(memory, tmp_path, monkeypatch):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    clean, worse = images()
    models = [net(), net()]
    for model, budget in zip(models, (2**30, memory)):
        denoise_pairs_(model, batches(clean, worse), PairConfig(ridge=1e-2, memory=budget, **ALL))
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values()):
        assert torch.equal(a, b)
    assert not list(tmp_path.iterdir())


def test_large_parts_are_opened(monkeypatch):
    """However the model is cut into parts, the result is the same."""
    clean, worse = images()
    results = []
    for limit in (1, 2, 100):
        monkeypatch.setattr(replay, 'UNIT_LAYERS', limit)
        model = net()
        denoise_pairs_(model, batches(clean, worse), PairConfig(ridge=1e-2, **ALL))
        results.append(model.state_dict())
    for other in results[1:]:
        for key, value in results[0].items():
            torch.testing.assert_close(other[key], value, rtol=1e-9, atol=1e-11)
