"""Images made worse before FastReID's own transforms."""
import numpy as np
import pytest
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms
from PIL import Image

pytest.importorskip('imagecorruptions', reason='needs imagecorruptions-imaug')

from denoiserep_ext.corruptions import Corruption, corrupt  # noqa: E402
from denoiserep_ext.reid.corrupt import Corrupt, corrupted_transforms  # noqa: E402
from tests.reid.helpers import reid_config  # noqa: E402

SATURATED = Corruption('saturate', 4)


def person(path, mode='RGB'):
    pixels = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.save(path)
    return np.asarray(image.convert('RGB'))


@pytest.mark.parametrize('name', ['saturate', 'gaussian_noise', 'motion_blur'])
def test_a_data_set_gives_the_worse_image_resized(tmp_path, digits, name):
    cfg = reid_config(tmp_path, digits)
    pixels = person(tmp_path / 'a.png')
    dataset = CommDataset([(str(tmp_path / 'a.png'), 7, 1)],
                          corrupted_transforms(cfg, Corruption(name, 4), 5), relabel=False)
    sample = dataset[0]
    expected = build_transforms(cfg, is_train=False)(Image.fromarray(corrupt(pixels, name, 4, 5)))
    assert (sample['images'] == expected).all() and sample['targets'] == 7
    assert sample['images'].shape[1:] == (32, 32), 'the size of the config'
    plain = CommDataset(dataset.img_items, build_transforms(cfg, is_train=False), relabel=False)
    assert (plain[0]['images'] != expected).any()


def test_a_grey_file_is_taken_as_fastreid_takes_it(tmp_path, digits):
    cfg = reid_config(tmp_path, digits)
    pixels = person(tmp_path / 'grey.png', 'L')
    dataset = CommDataset([(str(tmp_path / 'grey.png'), 0, 0)],
                          corrupted_transforms(cfg, Corruption('fog', 2)), relabel=False)
    expected = build_transforms(cfg, is_train=False)(Image.fromarray(corrupt(pixels, 'fog', 2)))
    assert (dataset[0]['images'] == expected).all()


def test_both_hosts_see_the_same_image(tmp_path):
    pytest.importorskip('mmengine')
    from denoiserep_ext.mm.corrupt import Corrupt as MMCorrupt
    pixels = person(tmp_path / 'a.png')
    mine = np.asarray(Corrupt(Corruption('impulse_noise', 3), 2)(Image.fromarray(pixels)))
    theirs = MMCorrupt('impulse_noise@3', seed=2)({'img': pixels[..., ::-1]})['img']
    assert np.array_equal(mine, theirs[..., ::-1])


def test_an_image_too_small_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match='fog needs images of at least 32 x 32 px'):
        Corrupt(Corruption('fog', 1))(Image.new('RGB', (16, 40)))
