"""A published network on real images."""
import copy

import pytest
import torch

from denoiserep_ext import DenoiseRepConfig, convert_, explicit_path, fit_one_pass_, fuse_
from tests.helpers import first_of
from tests.measure.cifar import accuracy, load_images, load_resnet20


def test_zero_strength_keeps_resnet20s_accuracy(real_data):
    model = load_resnet20(real_data)
    images, labels = load_images(real_data, 'test')
    before = copy.deepcopy(model.state_dict())
    assert round(accuracy(model, images, labels), 4) == 0.9164
    convert_(model, DenoiseRepConfig(step_stride=0))
    fit_one_pass_(model, [load_images(real_data, 'train')[0][:256]])
    fuse_(model)
    assert round(accuracy(model, images, labels), 4) == 0.9164
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize('noise', first_of(['relative', 'unit']))
def test_resnet20_fused_equals_explicit_on_real_images(real_data, noise, record_error):
    model = load_resnet20(real_data)
    images, _ = load_images(real_data, 'test')
    convert_(model, DenoiseRepConfig(noise=noise, update='posterior', step_stride=5))
    fit_one_pass_(model, images[:512].split(128))
    with torch.no_grad():
        plain = load_resnet20(real_data)(images)
        with explicit_path(model):
            explicit = model(images)
        fused = fuse_(model)(images)
    error = ((fused - explicit).abs().max() / explicit.abs().max()).item()
    record_error(f'CIFAR-10 ResNet-20, {noise}: fused against explicit, relative', error)
    assert error < 1e-4 < (fused - plain).abs().max()
