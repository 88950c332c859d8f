"""Which checkpoint a resumed run goes on from."""
import pytest
import torch

from denoiserep_ext.core.files.whole import is_whole, whole_or_before

PATTERN = r'epoch_(\d+)\.pth|iter_(\d+)\.pth'


def save(folder, *names):
    for name in names:
        torch.save({'state_dict': {'w': torch.arange(10000.)}}, folder / name)


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])


@pytest.mark.parametrize('damage', [
    lambda data: b'', lambda data: data[:-1], lambda data: data[:len(data) // 2],
    lambda data: data[:20000] + bytes([data[20000] ^ 1]) + data[20001:], lambda data: b'text'],
    ids=['empty', 'a byte short', 'half', 'a bit flipped', 'something else'])
def test_a_damaged_file_is_told_from_a_whole_one(tmp_path, damage):
    save(tmp_path, 'a.pth')
    assert is_whole(tmp_path / 'a.pth')
    (tmp_path / 'a.pth').write_bytes(damage((tmp_path / 'a.pth').read_bytes()))
    assert not is_whole(tmp_path / 'a.pth')


def test_no_file_is_not_whole(tmp_path):
    assert not is_whole(tmp_path / 'a.pth') and not is_whole(tmp_path)


def test_the_last_whole_one_before_it_by_number_not_by_name(tmp_path):
    save(tmp_path, *(f'epoch_{i}.pth' for i in (2, 9, 10, 11, 30)), 'best_epoch_8.pth', 'a.pth')
    newest = tmp_path / 'epoch_11.pth'
    assert whole_or_before(newest, PATTERN) == newest
    cut(newest)
    assert whole_or_before(newest, PATTERN) == tmp_path / 'epoch_10.pth'  # 30 is of another run
    cut(tmp_path / 'epoch_10.pth')
    assert whole_or_before(newest, PATTERN) == tmp_path / 'epoch_9.pth'
    newest.unlink()
    assert whole_or_before(newest, PATTERN) == tmp_path / 'epoch_9.pth'


def test_a_lost_name_means_the_newest(tmp_path):
    save(tmp_path, 'iter_4.pth', 'iter_12.pth')
    assert whole_or_before(tmp_path, PATTERN) == tmp_path / 'iter_12.pth'


def test_none_before_it_is_an_error_that_names_it(tmp_path):
    save(tmp_path, 'epoch_1.pth', 'epoch_3.pth')
    cut(tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match='epoch_1.pth is damaged.*last_checkpoint to start anew'):
        whole_or_before(tmp_path / 'epoch_1.pth', PATTERN)
    with pytest.raises(FileNotFoundError, match='epoch_0.pth: there is no whole checkpoint here'):
        whole_or_before(tmp_path / 'epoch_0.pth', PATTERN)
    with pytest.raises(FileNotFoundError, match='gone.*there is no whole checkpoint here'):
        whole_or_before(tmp_path / 'gone' / 'epoch_1.pth', PATTERN)
