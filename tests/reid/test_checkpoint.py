"""Which checkpoint FastReID's resumed run goes on from."""
import logging

import pytest
import torch

from denoiserep_ext.reid.checkpoint import last_checkpoint


@pytest.fixture
def folder(tmp_path):
    for name in ('model_0000', 'model_0001', 'model_best', 'model_final'):
        torch.save({'model': {'w': torch.ones(1000)}}, tmp_path / f'{name}.pth')
    return tmp_path


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize('newest', ['model_final.pth', 'model_best.pth', 'model_0002.pth'])
def test_the_last_whole_one_before_a_damaged_checkpoint_is_taken_and_said(folder, caplog, newest):
    torch.save({'model': {'w': torch.ones(1000)}}, folder / newest)
    (folder / 'last_checkpoint').write_text(newest)
    with caplog.at_level(logging.WARNING, logger='fastreid.denoiserep'):
        assert last_checkpoint(folder) == folder / newest and not caplog.text
        cut(folder / newest)
        assert last_checkpoint(folder) == folder / 'model_0001.pth'
    assert f'{newest} is damaged: resuming from {folder / "model_0001.pth"}' in caplog.text


def test_none_before_a_damaged_checkpoint_is_an_error_that_names_it(folder):
    (folder / 'last_checkpoint').write_text('model_0000.pth')
    cut(folder / 'model_0000.pth')
    with pytest.raises(ValueError, match='model_0000.pth is damaged, and there is no whole'):
        last_checkpoint(folder)


def test_an_emptied_note_names_what_there_is(folder):
    (folder / 'last_checkpoint').write_text('')
    with pytest.raises(FileNotFoundError, match='names no checkpoint.*model_0001.pth, model_best.pth'):
        last_checkpoint(folder)
