"""Re-identification data sets in a few images, laid out as the real ones."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

IDENTITIES, SHOTS = 4, 4
VEHICLES = 10  # to test on


def image(path: Path, seed: int) -> None:
    """A JPEG whose left half's brightness tells its identity apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _market_like(root: Path) -> None:
    for folder, first in (('bounding_box_train', 1), ('query', 11), ('bounding_box_test', 11)):
        for identity in range(first, first + IDENTITIES):
            for shot in range(SHOTS):
                camera = 1 if folder == 'query' else 1 + shot % 2
                image(root / folder / f'{identity:04d}_c{camera}s1_{shot:06d}_00.jpg', identity)


def write_market1501(root: Path) -> None:
    _market_like(root / 'Market-1501-v15.09.15')


def write_dukemtmc(root: Path) -> None:
    _market_like(root / 'DukeMTMC-reID')


def write_msmt17(root: Path) -> None:
    root = root / 'MSMT17_V1'
    lines = {'train': [], 'val': [], 'query': [], 'gallery': []}
    for split in lines:
        part = 'train' if split in ('train', 'val') else 'test'
        for identity in range(IDENTITIES):
            for shot in range(SHOTS):
                camera = 1 if split == 'query' else 1 + shot % 2
                name = (f'{identity:04d}/{identity:04d}_{shot:03d}_{camera:02d}_0303morning_'
                        f'{split}.jpg')
                image(root / part / name, identity)
                lines[split].append(f'{name} {identity}\n')
    for split, names in lines.items():
        (root / f'list_{split}.txt').write_text(''.join(names))


def write_vehicleid(root: Path) -> None:
    root = root / 'vehicleid'
    counter = 0
    for name, first in (('train_list', 0), ('test_list_800', 100), ('test_list_1600', 200),
                        ('test_list_2400', 300), ('test_list_13164', 300)):
        lines = []
        # One gallery image a vehicle, and FastReID reports Rank-10.
        for identity in range(first, first + (IDENTITIES if first == 0 else VEHICLES)):
            for _ in range(SHOTS):
                counter += 1
                image(root / 'image' / f'{counter:07d}.jpg', identity)
                lines.append(f'{counter:07d} {identity}\n')
        path = root / 'train_test_split' / f'{name}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(lines))


def write_cuhk03(root: Path) -> None:
    """cuhk-03.mat (HDF5 with references to cells) and the new protocol's index files."""
    import h5py
    from scipy import io

    folder = root / 'cuhk03'
    (folder / 'cuhk03_release').mkdir(parents=True)
    people, rng = 2 * IDENTITIES, np.random.default_rng(0)
    with h5py.File(folder / 'cuhk03_release/cuhk-03.mat', 'w') as mat:

        def cell(value) -> h5py.Reference:
            return mat.create_dataset(f'#refs#/{len(mat["#refs#"])}', data=value).ref

        mat.create_group('#refs#')
        for kind in ('detected', 'labeled'):
            shots = np.empty((10, people), dtype=h5py.ref_dtype)  # HDF5 holds MATLAB's transposed
            for person in range(people):
                for shot in range(10):
                    empty = shot % 5 > 1  # people have different numbers of images
                    pixels = rng.integers(0, 255, (3, 32, 64), dtype=np.uint8)
                    shots[shot, person] = cell(np.zeros(2) if empty else pixels)
            mat.create_dataset(kind, data=np.array([[cell(shots)]], dtype=h5py.ref_dtype))
        classic = np.array([[1.0] * IDENTITIES, range(1, IDENTITIES + 1)])
        mat.create_dataset('testsets', data=np.array([[cell(classic)]], dtype=h5py.ref_dtype))
    names = [(person, f'1_{person + 1:03d}_{1 if shot < 5 else 2}_{shot + 1:02d}.png')
             for person in range(people) for shot in range(10) if shot % 5 < 2]
    train = [i for i, (person, _) in enumerate(names) if person < IDENTITIES]
    test = [i for i, (person, _) in enumerate(names) if person >= IDENTITIES]
    query = [i for i in test if names[i][1].split('_')[2] == '1'][::2]
    index = {'train_idx': train, 'query_idx': query, 'gallery_idx': [i for i in test if i not in query]}
    for kind in ('detected', 'labeled'):
        io.savemat(folder / f'cuhk03_new_protocol_config_{kind}.mat', {
            **{key: np.array(value) + 1 for key, value in index.items()},
            'labels': np.array([person + 1 for person, _ in names]),
            'filelist': np.array([[name] for _, name in names], dtype=object)})


WRITERS = {'market1501': write_market1501, 'dukemtmc': write_dukemtmc, 'msmt17': write_msmt17,
           'cuhk03': write_cuhk03, 'vehicleid': write_vehicleid}
