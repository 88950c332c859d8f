"""Images made worse: the same way each time, whatever else draws random numbers."""
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('imagecorruptions', reason='needs imagecorruptions-imaug')

from denoiserep_ext.corruptions import ALL, SEVERITIES, corrupt, least_side  # noqa: E402
from denoiserep_ext.corruptions.images import LEAST_SIDE  # noqa: E402

STEADY = ('defocus_blur', 'zoom_blur', 'brightness', 'contrast', 'pixelate', 'jpeg_compression',
          'gaussian_blur', 'saturate')  # nothing is drawn


def photograph(height=48, width=64, seed=0):
    """Patches of colour with some detail. Their side divides no power of two: pixelate would find its
    own grid again."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(20, 236, (height // 7 + 1, width // 7 + 1, 3))
    coarse = patches.repeat(7, 0).repeat(7, 1)[:height, :width]
    return np.clip(coarse + rng.integers(-20, 21, coarse.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize('name', ALL)
def test_an_image_and_a_seed_give_the_same_result_whatever_numpy_draws(name):
    image = photograph()
    np.random.seed(1)
    first = corrupt(image, name, 3, seed=5)
    np.random.seed(2)
    np.random.normal(size=3)
    state = np.random.get_state()
    second = corrupt(image.copy(), name, 3, seed=5)
    after = np.random.get_state()
    assert np.array_equal(first, second)
    assert state[0] == after[0] and np.array_equal(state[1], after[1]) and state[2:] == after[2:]
    assert first.shape == image.shape and first.dtype == np.uint8
    assert not np.array_equal(first, image), 'and it is worse'


@pytest.mark.parametrize('name', [name for name in ALL if name not in STEADY])
def test_seeds_and_images_draw_differently(name):
    image = photograph()
    one = corrupt(image, name, 3, seed=0).astype(int)
    assert not np.array_equal(one, corrupt(image, name, 3, seed=1))
    other = image.copy()
    other[0, 0, 0] ^= 1
    changed = (corrupt(other, name, 3, seed=0) != one).any(2)
    assert changed[8:, 8:].any(), 'far from the one pixel that differs'


@pytest.mark.parametrize('name', ALL)
def test_the_image_itself_is_left_alone(name):
    image = photograph()
    image.flags.writeable = False
    before = image.copy()
    corrupt(image, name, 5)
    assert np.array_equal(image, before)


@pytest.mark.parametrize('name', ALL)
def test_severities_rise(name):
    """Root mean square difference from the image, over four of them. The levels of saturate are two of
    too little colour, then three of too much."""
    images = [photograph(96, 96, seed) for seed in range(4)]
    away = [np.mean([(corrupt(image, name, severity) - image.astype(float))**2 for image in images])
            for severity in SEVERITIES]
    if name == 'saturate':
        assert away[0] < away[1] and away[2] < away[3] < away[4]
    elif name in ('snow', 'frost', 'fog', 'spatter', 'glass_blur', 'elastic_transform'):
        assert away[0] < away[4]
    else:
        assert away == sorted(away)


def test_it_is_the_librarys_own_function_that_is_called():
    """With NumPy's generator set alike, bit for bit."""
    from imagecorruptions import corrupt as theirs

    from denoiserep_ext.corruptions import images
    image = photograph()
    for name in set(ALL) - set(images._SEEDED):
        np.random.seed(images._seed_of(image, name, 3))
        assert np.array_equal(theirs(image, 2, name), corrupt(image, name, 2, seed=3)), name


def test_another_process_gets_the_same_bytes(tmp_path):
    np.save(tmp_path / 'image.npy', photograph())
    code = ('import hashlib, numpy as np; from denoiserep_ext.corruptions import corrupt\n'
            'image = np.load("image.npy")\n'
            'for name in ("impulse_noise", "glass_blur", "fog"):\n'
            '    print(hashlib.sha256(corrupt(image, name, 2, 7).tobytes()).hexdigest())')
    import hashlib
    import os

    import denoiserep_ext
    root = os.path.dirname(os.path.dirname(denoiserep_ext.__file__))
    result = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True,
                            env={**os.environ, 'PYTHONPATH': root, 'PYTHONHASHSEED': '1'})
    assert result.stdout.split() == [
        hashlib.sha256(corrupt(photograph(), name, 2, 7).tobytes()).hexdigest()
        for name in ('impulse_noise', 'glass_blur', 'fog')], result.stderr


@pytest.mark.parametrize('name', ALL)
def test_every_size_it_takes_is_treated_soundly(name):
    """No crash, no black image, and what blurs does not darken beyond a few grey levels."""
    least = least_side(name)
    for height, width in ((least, least), (least, 200), (97, least), (33, 47)):
        grey = np.full((height, width, 3), 128, np.uint8)
        for severity in SEVERITIES:
            worse = corrupt(grey, name, severity).astype(int)
            assert worse.shape == grey.shape and worse.mean() > 60
            if name.endswith('_blur') or name in ('pixelate', 'elastic_transform', 'jpeg_compression'):
                assert abs(worse - 128).max() <= 5


def test_spatter_without_a_drop_leaves_the_image_as_it_is():
    """The library divides zero by zero there and returns black images."""
    image = np.full((32, 32, 3), 200, np.uint8)
    results = [corrupt(image, 'spatter', 1, seed) for seed in range(300)]
    assert min(result.mean() for result in results) > 100
    assert any(np.array_equal(result, image) for result in results), 'about one in sixty has no drop'


@pytest.mark.parametrize('name', ALL)
def test_a_small_image_is_taken_or_refused_in_words(name):
    small = photograph(8, 8)
    if least_side(name) == LEAST_SIDE:
        with pytest.raises(ValueError, match=f'{name} needs images of at least 32 x 32 px, and this one '
                           'has 8 x 8: take a corruption that works pixel by pixel'):
            corrupt(small, name, 1)
    else:
        assert corrupt(small, name, 3).shape == small.shape


@pytest.mark.parametrize('name', ALL)
def test_a_grey_image_stays_grey_and_its_noise_whole(name):
    image = photograph()[..., 0]
    worse = corrupt(image, name, 3)
    assert worse.shape == image.shape
    assert np.array_equal(worse, image) == (name == 'saturate'), 'grey has no colour to saturate'
    assert np.array_equal(corrupt(image[..., None], name, 3)[..., 0], worse)
    if name == 'gaussian_noise':
        flat = corrupt(np.full((64, 64), 128, np.uint8), name, 1)
        assert flat.std() == pytest.approx(0.08 * 255, rel=0.05)


@pytest.mark.parametrize('image, words', [
    (np.zeros((40, 40, 3), np.float32), r'got float32 \[40, 40, 3\]'),
    (np.zeros((40, 40, 4), np.uint8), r'got uint8 \[40, 40, 4\]'),
    (np.zeros((2, 40, 40, 3), np.uint8), r'got uint8 \[2, 40, 40, 3\]'),
    ([[1, 2], [3, 4]], 'got list'),
    (np.zeros((0, 40, 3), np.uint8), 'this one has 40 x 0'),
])
def test_what_is_no_image_is_refused(image, words):
    with pytest.raises(ValueError, match=words):
        corrupt(image, 'gaussian_noise', 1)


def test_a_missing_library_is_named_with_the_remedy(monkeypatch):
    from denoiserep_ext.corruptions import images
    images._library.cache_clear()
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(ImportError, match=r'pip install denoiserep_ext\[corruptions\]'):
        corrupt(photograph(), 'fog', 1)
    images._library.cache_clear()


def test_a_failure_leaves_numpys_generator_as_it_was(monkeypatch):
    from denoiserep_ext.corruptions import images

    def fails(_picture, _severity):
        np.random.normal(size=5)
        raise RuntimeError('no')

    monkeypatch.setattr(images, '_library', lambda: {'fog': fails})
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    with pytest.raises(RuntimeError):
        corrupt(photograph(), 'fog', 1)
    assert np.array_equal(before, np.random.get_state()[1])
