import numpy as np
import pytest
from PIL import Image

pytest.importorskip('sklearn')

from denoiserep_ext.datasets.digits import split_digits, write_image_folder  # noqa: E402


def test_splits_are_fixed_and_disjoint():
    digits = list(split_digits())
    counts = {split: sum(d[0] == split for d in digits) for split in ('train', 'val', 'test')}
    assert counts == {'train': 1078, 'val': 359, 'test': 360}
    assert len({d[2] for d in digits}) == len(digits) == 1797
    # Pinned for good: these very images are in these very parts.
    assert [d[2] for d in digits if d[:2] == ('test', 3)][:3] == [607, 1756, 449]


def test_files_hold_the_images(tmp_path):
    counts = write_image_folder(tmp_path / 'digits')
    for split, label, index, image in split_digits():
        file = tmp_path / f'digits/{split}/{label}/{index:04d}.png'
        assert np.array_equal(np.asarray(Image.open(file)), image)
    assert write_image_folder(tmp_path / 'digits') == counts, 'a second call finds it complete'
    assert [p.name for p in tmp_path.iterdir()] == ['digits']


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/notes.txt').write_text('keep')
    with pytest.raises(FileExistsError, match='not the complete data set.*remove it or name'):
        write_image_folder(tmp_path / 'mine')
    assert (tmp_path / 'mine/notes.txt').read_text() == 'keep'


def test_an_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt
    monkeypatch.setattr(Image.Image, 'save', fail)
    with pytest.raises(KeyboardInterrupt):
        write_image_folder(tmp_path / 'digits')
    assert not list(tmp_path.iterdir())
