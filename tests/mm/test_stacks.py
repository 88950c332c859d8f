"""Config inheritance where mmseg comes from a distribution of another name (the OneDL fork)."""
import pytest
from mmengine.config import utils
from mmengine.hub import get_config

from denoiserep_ext.mm import stacks

STOCK = 'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py'


@pytest.mark.parametrize('official', [True, False])
def test_mmseg_configs_are_inherited_on_either_stack(monkeypatch, official):
    pytest.importorskip('mmseg')
    monkeypatch.setitem(utils.MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    if official and not stacks.is_installed('mmsegmentation'):
        pytest.skip('the official distribution is not installed')
    monkeypatch.setattr(stacks, 'is_installed', lambda package: official)
    stacks.repair_package_names()
    assert utils.MODULE2PACKAGE['mmseg'] == ('mmsegmentation' if official else 'mmseg')
    assert get_config(STOCK).model.decode_head.num_classes == 150


def test_nothing_is_changed_where_mmseg_is_missing(monkeypatch):
    monkeypatch.setitem(utils.MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    monkeypatch.setattr(stacks, 'is_installed', lambda package: False)
    monkeypatch.setattr(stacks, 'find_spec', lambda name: None)
    stacks.repair_package_names()
    assert utils.MODULE2PACKAGE['mmseg'] == 'mmsegmentation'
