"""What ``auto`` looks for, on models written by hand."""
import pytest
from torch import nn

from denoiserep_ext.core.layer.selection import select


class Block(nn.Module):
    def __init__(self, first=None, second=None):
        super().__init__()
        self.fc1, self.fc2 = first or nn.Linear(4, 8), second or nn.Linear(8, 4)


class RepVGGBlock(nn.Module):
    def __init__(self, identity):
        super().__init__()
        self.branch_3x3 = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.branch_1x1 = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.branch_norm = nn.BatchNorm2d(4) if identity else None


class BottleneckAttn(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Conv2d(4, 12, 1)


class SPPBottleneck(BottleneckAttn):
    """Pools at several scales; no residual block."""


def chosen(**parts):
    """Names that auto selects of these parts, beside an MLP that it always finds."""
    model = nn.ModuleDict({**parts, 'mlp': nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 3))})
    return [name for name, reason in select(model, 'auto').items() if reason is None][:-2]


@pytest.mark.parametrize('first, second', [
    (nn.Linear(4, 8), nn.Linear(8, 4)),
    (nn.Linear(4, 16), nn.Linear(8, 4)),  # half of the hidden features gate the other half
    (nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1)),
])
def test_a_pair_that_widens_and_narrows_again_is_an_mlp(first, second):
    assert chosen(block=Block(first, second)) == ['block.fc1', 'block.fc2']


@pytest.mark.parametrize('first, second', [
    (nn.Linear(8, 4), nn.Linear(4, 8)),  # narrows first, as a gate does
    (nn.Linear(4, 8), nn.Linear(8, 5)),  # leads to another width, as a head does
    (nn.Linear(4, 4), nn.Linear(8, 4)),  # something in between that is not a gate changes the width
    (nn.Conv2d(4, 8, 3), nn.Conv2d(8, 4, 3)),
])
def test_other_pairs_are_not(first, second):
    assert chosen(block=Block(first, second)) == []


@pytest.mark.parametrize('name', ['head', 'mlp_tokens', 'token_mix', 'query_scale', 'cpb_mlp'])
def test_an_mlp_under_another_purpose_is_left(name):
    assert chosen(**{name: Block()}) == []


def test_reparametrisable_blocks_are_residual_where_they_have_an_identity_branch():
    assert chosen(block=RepVGGBlock(identity=True)) == ['block.branch_3x3.0', 'block.branch_1x1.0']
    assert chosen(block=RepVGGBlock(identity=False)) == []


def test_names_that_resemble_residual_blocks_are_not():
    assert chosen(attention=BottleneckAttn(), pool=SPPBottleneck()) == []


@pytest.mark.parametrize('model', [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)),
                                   Block(nn.Linear(4, 8), nn.Linear(8, 5))], ids=['Sequential', 'Block'])
def test_finding_nothing_says_what_auto_looks_for_and_what_to_pass(model):
    with pytest.raises(ValueError, match=r"'auto' looks for .*MLP.*fc1 and fc2.*residual blocks.*"
                                         r"Pass layers='all', a regular expression"):
        select(model, 'auto')
    with pytest.raises(ValueError) as error:
        select(model, 'none_of_them')
    assert "'auto' looks for" not in str(error.value), 'only who asked for auto'


def test_a_lazy_mlp_says_what_it_waits_for():
    with pytest.raises(ValueError, match='lazy and not initialised'):
        select(nn.ModuleDict({'mlp': nn.Sequential(nn.LazyLinear(6), nn.LazyLinear(3))}), 'auto')
