"""The hook in mmengine's real Runner on a GPU, in mixed precision."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip('mmpretrain', reason='needs mmpretrain (bash tools/install.sh)')

from denoiserep_ext.core.layer.layers import denoise_layers  # noqa: E402
from denoiserep_ext.mm.models import load_model  # noqa: E402
from tests.mm.conftest import digits  # noqa: E402, F401
from tests.mm.helpers import build, classifier_config, load, train, weights  # noqa: E402


def mixed(cfg, device, dtype):
    cfg.optim_wrapper.update(type='AmpOptimWrapper' if device.type == 'cuda' else 'OptimWrapper')
    if device.type == 'cuda':
        cfg.optim_wrapper.update(dtype=dtype, loss_scale='dynamic')
    return cfg


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('backbone, hook', [
    ('resnet', {}), ('vit', {}), ('vmamba', {}), ('resnet', dict(solver='sgd')),
    ('vit', dict(recipe='frozen')), ('vit', dict(fold_interval=3))], ids=str)
def test_mixed_precision_training(tmp_path, digits, device, backbone, hook, dtype):  # noqa: F811
    cfg = mixed(classifier_config(tmp_path, digits, backbone=backbone, hook=hook), device, dtype)
    runner = train(cfg)
    assert next(runner.model.parameters()).device.type == device.type
    layers = list(denoise_layers(runner.model))
    assert layers
    for _, layer in layers:
        assert layer.denoiser.fitted and torch.isfinite(layer.denoiser.matrix()).all()
        assert layer.denoiser.matrix().dtype == torch.float32
    saved = weights(tmp_path / 'epoch_2.pth')
    assert all(torch.isfinite(v).all() for v in saved.values())
    # The saved file is plain, and scores as the live model.
    stock = classifier_config(tmp_path / 'stock', digits, backbone=backbone)
    plain = load_model(stock, tmp_path / 'epoch_2.pth').to(device)
    runner.model.eval()
    data = runner.model.data_preprocessor(next(iter(runner.test_dataloader)), False)
    with torch.no_grad():
        ours, theirs = (m.extract_feat(data['inputs'])[-1] for m in (runner.model, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())


def test_resuming_in_mixed_precision_goes_on(tmp_path, digits, device):  # noqa: F811
    whole = mixed(classifier_config(tmp_path, digits, backbone='resnet', hook={}), device, 'float16')
    train(whole)
    again = mixed(classifier_config(tmp_path / 'again', digits, backbone='resnet', hook={}, resume=True,
                                    load_from=str(tmp_path / 'epoch_1.pth')), device, 'float16')
    train(again)
    ours, theirs = (load(folder / 'epoch_2.pth') for folder in (tmp_path, tmp_path / 'again'))
    assert ours['meta']['iter'] == theirs['meta']['iter']
    # Sums on a GPU need not be in the same order twice.
    for name, value in ours['state_dict'].items():
        torch.testing.assert_close(theirs['state_dict'][name], value, rtol=0.05,
                                   atol=0.05 * max(value.abs().max().item(), 1e-2), msg=name)


def test_channels_last(tmp_path, digits, device):  # noqa: F811
    cfg = mixed(classifier_config(tmp_path, digits, backbone='resnet', hook={}), device, 'bfloat16')
    runner = build(cfg)
    runner.model.to(memory_format=torch.channels_last)
    runner.train()
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last)
               for m in runner.model.modules() if isinstance(m, nn.Conv2d))
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(runner.model))


def test_ddp_in_mixed_precision(tmp_path, digits, device):  # noqa: F811
    result = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=1',
         '-m', 'tests.cuda.runner_worker', str(tmp_path), str(digits)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    plain = load_model(classifier_config(tmp_path / 'stock', digits, backbone='resnet'),
                       tmp_path / 'epoch_2.pth')
    assert all(torch.isfinite(v).all() for v in plain.state_dict().values())
