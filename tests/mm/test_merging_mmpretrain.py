"""MMPretrain's ``switch_to_deploy`` on converted blocks keeps what was folded into them."""
import pytest
from mmpretrain.models.backbones.levit import MLP, fuse_parameters
from mmpretrain.models.backbones.mobileone import MobileOneBlock
from mmpretrain.models.backbones.repvgg import RepVGGBlock
from torch import nn

from tests.core.layer.test_merging import check_merging_keeps_the_fold


def switched(model: nn.Module) -> nn.Module:
    for module in list(model.modules()):
        if hasattr(module, 'switch_to_deploy'):
            module.switch_to_deploy()
    return model


@pytest.mark.parametrize('build', [
    lambda: RepVGGBlock(8, 8),
    lambda: MobileOneBlock(8, 8, 3, num_convs=2, padding=1),
], ids=['RepVGG', 'MobileOne'])
def test_switching_to_deploy_keeps_the_fold(build):
    check_merging_keeps_the_fold(build(), (2, 8, 7, 7), switched)


def norms_merged(model: nn.Module) -> nn.Module:
    fuse_parameters(model)
    return model


def test_merging_norms_into_linear_layers_keeps_the_fold():
    check_merging_keeps_the_fold(MLP(8, 16), (2, 5, 8), norms_merged)
