"""A config that inherits from several files, in FastReID's own reader."""
import pytest
from fastreid.config import CfgNode

from denoiserep_ext.reid import get_cfg


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)
    return write


def test_later_bases_go_over_earlier_ones_and_the_file_over_all(write):
    write('base/model.yml', 'SEED: 1\nMODEL:\n  BACKBONE: {NAME: build_osnet_backbone, DEPTH: x1_0}\n')
    write('base/common.yml', 'SOLVER: {OPT: SGD, MAX_EPOCH: 9}\n')
    write('base/recipe.yml',
          '_BASE_: common.yml\nSOLVER: {MAX_EPOCH: 3}\nMODEL: {BACKBONE: {DEPTH: x0_5}}\n')
    path = write('config.yml', '_BASE_: [base/model.yml, base/recipe.yml]\nSEED: 2\n')
    assert CfgNode.load_yaml_with_base(path) == {
        'SEED': 2, 'MODEL': {'BACKBONE': {'NAME': 'build_osnet_backbone', 'DEPTH': 'x0_5'}},
        'SOLVER': {'OPT': 'SGD', 'MAX_EPOCH': 3}}
    cfg = get_cfg()
    cfg.merge_from_file(path)
    assert (cfg.SEED, cfg.MODEL.BACKBONE.DEPTH, cfg.SOLVER.MAX_EPOCH) == (2, 'x0_5', 3)


def test_one_base_and_none_are_read_as_ever(write):
    write('a.yml', 'SEED: 1\nMODEL: {DEVICE: cpu}\n')
    assert CfgNode.load_yaml_with_base(write('b.yml', '_BASE_: a.yml\nSEED: 3\n')) == {
        'SEED': 3, 'MODEL': {'DEVICE': 'cpu'}}
    assert CfgNode.load_yaml_with_base(write('c.yml', '_BASE_: [b.yml]\n')) == {
        'SEED': 3, 'MODEL': {'DEVICE': 'cpu'}}


def test_what_cannot_be_is_named(write):
    write('a.yml', 'MODEL: {DEVICE: cpu}\n')
    with pytest.raises(ValueError, match=r'b\.yml: MODEL is a group of settings in one file'):
        CfgNode.load_yaml_with_base(write('b.yml', '_BASE_: [a.yml]\nMODEL: cpu\n'))
    with pytest.raises(FileNotFoundError, match='missing.yml'):
        CfgNode.load_yaml_with_base(write('c.yml', '_BASE_: [a.yml, missing.yml]\n'))
