"""Two folders of the same scenes, paired by name."""
import numpy as np
import pytest
from PIL import Image

from denoiserep_ext.datasets.pairs import paired_images


def write(path, width=40, height=30, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    for index in range(3):
        write(tmp_path / f'good/{index % 2}/{index}.png', seed=index)
        write(tmp_path / f'bad/{index % 2}/{index}.jpg', seed=index)
    return tmp_path / 'good', tmp_path / 'bad'


def test_pairs_have_one_name_below_their_folders(folders):
    good, bad = folders
    (good / 'notes.txt').write_text('no image')
    assert paired_images(good, bad) == [(good / f'{name}.png', bad / f'{name}.jpg')
                                        for name in ('0/0', '0/2', '1/1')]


@pytest.mark.parametrize('size', [(20, 15), (80, 60), (13, 10), (41, 30), (27, 20)])
def test_another_resolution_is_a_pair(folders, size):
    good, bad = folders
    write(bad / '0/0.jpg', *size)
    assert len(paired_images(good, bad)) == 3


@pytest.mark.parametrize('size', [(30, 40), (40, 20), (20, 20)])
def test_other_proportions_are_none(folders, size):
    good, bad = folders
    write(bad / '0/0.jpg', *size)
    with pytest.raises(ValueError, match=rf'40 x 30 px and .*0.jpg {size[0]} x {size[1]}: a pair may '
                       'differ in resolution, not in proportions'):
        paired_images(good, bad)


def test_an_image_without_a_partner_is_named_on_either_side(folders):
    good, bad = folders
    for index in range(5):
        write(good / f'more/{index}.png')
    with pytest.raises(ValueError, match=r'5 images of .*good have no partner in '
                       r'.*bad: more/0, more/1, more/2, \.\.\.'):
        paired_images(good, bad)
    with pytest.raises(ValueError, match='5 images of .*good have no partner'):
        paired_images(bad, good)


def test_two_endings_of_one_name_are_not_clear(folders):
    good, bad = folders
    write(good / '0/0.bmp')
    with pytest.raises(ValueError, match=r'0.bmp and .*0.png differ in their ending only'):
        paired_images(good, bad)


def test_a_folder_is_no_pair_of_itself(folders):
    with pytest.raises(ValueError, match='named twice'):
        paired_images(folders[0], folders[0] / '../good')


@pytest.mark.parametrize('which', [0, 1])
def test_a_folder_without_images_is_named(folders, tmp_path, which):
    (tmp_path / 'empty').mkdir()
    arguments = list(folders)
    for folder, words in ((tmp_path / 'nowhere', 'nowhere: no such folder'),
                          (tmp_path / 'empty', 'empty: no images below it')):
        arguments[which] = folder
        with pytest.raises(FileNotFoundError, match=words):
            paired_images(*arguments)


@pytest.mark.parametrize('name', ['good/1/1.png', 'bad/1/1.jpg'])
@pytest.mark.parametrize('damage', ['cut', 'text', 'empty'])
def test_a_damaged_file_is_named(folders, tmp_path, name, damage):
    path = tmp_path / name
    content = path.read_bytes()
    path.write_bytes({'cut': content[:len(content) // 2], 'text': b'no image', 'empty': b''}[damage])
    with pytest.raises(ValueError, match=rf'{name} is damaged or not an image'):
        paired_images(*folders)


def test_images_are_compared_as_they_are_looked_at(folders):
    """A camera that was held upright writes a lying image and a note to turn it."""
    good, bad = folders
    turned = Image.new('RGB', (30, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(bad / '0/0.jpg', exif=exif)
    assert len(paired_images(good, bad)) == 3
