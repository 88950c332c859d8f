"""nn.MultiheadAttention opened: the same function, its projections fitted like any layer."""
import copy

import pytest
import torch
from torch import nn

from denoiserep_ext import PairConfig, denoise_pairs_
from denoiserep_ext.core.pairs.attention import opened_attention


@pytest.mark.parametrize('options', [
    {}, {'batch_first': True}, {'bias': False}, {'add_bias_kv': True}, {'add_zero_attn': True},
    {'kdim': 6, 'vdim': 10, 'batch_first': True}])
@pytest.mark.parametrize('masked', [False, True])
@torch.no_grad()
def test_opened_attention_is_the_same_function(options, masked):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **options).double().eval()
    if attention.in_proj_bias is not None:
        nn.init.normal_(attention.in_proj_bias)
    kdim, vdim = options.get('kdim', 8), options.get('vdim', 8)
    lengths = (3, 5) if options.get('batch_first') else (5, 3)
    query, key, value = (torch.randn(*lengths, d, dtype=torch.float64) for d in (8, kdim, vdim))
    mask = {'key_padding_mask': torch.rand(3, 5) < 0.3, 'attn_mask': torch.rand(5, 5) < 0.2}
    mask = {k: v & (torch.arange(5) > 0) for k, v in mask.items()} if masked else {}
    keys, parameters = list(attention.state_dict()), list(attention.parameters())
    wanted = attention(query, key, value, **mask)
    with opened_attention(nn.Sequential(attention)):
        given = attention(query, key, value, **mask)
        assert type(attention) is not nn.MultiheadAttention
    again = attention(query, key, value, **mask)
    for a, b, c in zip(wanted, given, again):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-12)
        assert torch.equal(a, c)
    assert list(attention.state_dict()) == keys and type(attention) is nn.MultiheadAttention
    assert all(a is b for a, b in zip(parameters, attention.parameters()))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x)
        y = self.norm(x)
        return self.head((x + self.attention(y, y, y, need_weights=False)[0]).mean(1))


def test_projections_are_fitted_and_packed_again():
    torch.manual_seed(0)
    model = Attending().double()
    plain = copy.deepcopy(model.state_dict())
    clean = torch.randn(12, 7, 6, dtype=torch.float64)
    report = denoise_pairs_(model, [(clean, clean + 0.5 * torch.randn_like(clean))],
                            PairConfig(ridge=1e-2, held_out=0.0))
    changed = {layer.name for layer in report.changed}
    assert {f'attention.{name}' for name in ('query', 'key', 'value', 'out_proj')} <= changed
    assert [layer.name for layer in report if layer.skip] == ['attention.out_proj']
    assert list(plain) == list(model.state_dict())
    for key in ('attention.in_proj_weight', 'attention.in_proj_bias', 'attention.out_proj.weight'):
        assert not torch.equal(plain[key], model.state_dict()[key])
    assert all(not torch.equal(a, b) for a, b in zip(
        plain['attention.in_proj_weight'].chunk(3), model.attention.in_proj_weight.chunk(3)))


def test_encoder_layers_are_fitted_past_their_fast_path():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    model = nn.Sequential(layer, nn.Linear(8, 3)).double()
    clean = torch.randn(12, 7, 8, dtype=torch.float64)
    report = denoise_pairs_(model, [(clean, clean + 0.5 * torch.randn_like(clean))],
                            PairConfig(ridge=1e-2, held_out=0.0))
    skips = {entry.name: entry.skip for entry in report.changed}
    assert skips == {'0.self_attn.query': False, '0.self_attn.key': False, '0.self_attn.value': False,
                     '0.self_attn.out_proj': True, '0.linear1': False, '0.linear2': True, '1': False}


def test_heads_are_fitted_where_they_are_asked_for():
    clean = torch.randn(12, 7, 6, dtype=torch.float64)
    for heads in (False, True):
        torch.manual_seed(0)
        model = Attending().double()
        report = denoise_pairs_(model, [(clean, clean + 0.5)],
                                PairConfig(ridge=1e-2, held_out=0.0, heads=heads))
        reasons = {layer.name: layer.reason for layer in report}
        assert reasons['head'] == (None if heads else 'classifier head')
