"""Plain checkpoints with the raw state beside them."""
import pytest
import torch
from torch import nn

from denoiserep_ext import DenoiseRepConfig, convert_
from denoiserep_ext.core.files.export import export_plain
from denoiserep_ext.core.files.plain import KEY, converted_names, pack, unpack
from denoiserep_ext.core.files.reading import read_checkpoint
from tests.helpers import TinyNet, randomise_


def fitted(model, **options):
    convert_(model, DenoiseRepConfig(layers='all', **options))
    return randomise_(model, 0.1)


class OfTheHost(nn.Module):
    """A host with a module of its own called as predictors are."""

    def __init__(self):
        super().__init__()
        self.denoiser = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x):
        return self.denoiser(x)


@pytest.mark.parametrize('build, names', [
    (lambda: nn.Linear(4, 4), {''}), (lambda: nn.Conv2d(4, 4, 3, groups=2), {''}),
    (OfTheHost, {'denoiser.0'}), (lambda: nn.Sequential(OfTheHost()), {'0.denoiser.0'}),
    (TinyNet, {'stem', 'block.conv1', 'block.conv2', 'mlp.0', 'mlp.2'})])
def test_unpacking_gives_back_what_was_packed(build, names):
    model = fitted(build(), steps=[500] * len(names))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    plain, raw = pack(model, state)
    assert converted_names(raw) == names
    assert plain.keys() == build().state_dict().keys()
    assert any(not torch.equal(plain[name], state[name]) for name in plain)
    back = unpack(model, plain, raw)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_raw_state_of_another_selection_is_refused():
    model = fitted(nn.Linear(4, 4))
    _, raw = pack(model, model.state_dict())
    other = fitted(nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(ValueError, match='another selection of layers.*1 converted layers against 1'):
        unpack(other, {}, raw)


def test_exporting_names_the_layers(tmp_path):
    model = fitted(nn.Linear(4, 4))
    plain, raw = pack(model, model.state_dict())
    torch.save({'state_dict': plain, KEY: {'raw': raw}}, tmp_path / 'a.pth')
    assert export_plain(tmp_path / 'a.pth', tmp_path / 'b.pth') == ['']
    assert read_checkpoint(tmp_path / 'b.pth').keys() == {'state_dict'}
