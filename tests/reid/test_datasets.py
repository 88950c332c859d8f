"""Data sets: protocols that FastReID lacks, the embedded digits, and checks before a run."""
import random
import re

import numpy as np
import pytest
from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.data.transforms import build_transforms
from PIL import Image

from denoiserep_ext.datasets.retrieval import retrieval_digits, write_retrieval
from denoiserep_ext.reid import get_cfg
from denoiserep_ext.reid.datasets import check_data
from tests.reid.miniature import IDENTITIES, SHOTS, VEHICLES, WRITERS


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('reid-sets')
    for write in WRITERS.values():
        write(root)
    return root


def config(root, name='Market1501', *overrides):
    cfg = get_cfg()
    cfg.merge_from_list(['DATASETS.ROOT', str(root), 'DATASETS.NAMES', (name, ),
                         'DATASETS.TESTS', (name, ), 'SOLVER.IMS_PER_BATCH', 8,
                         'DATALOADER.NUM_INSTANCE', 2,
                         'DATALOADER.SAMPLER_TRAIN', 'NaiveIdentitySampler', *overrides])
    return cfg


@pytest.mark.parametrize('name, identities', [
    ('Market1501', IDENTITIES), ('DukeMTMC', IDENTITIES), ('MSMT17', IDENTITIES), ('CUHK03', IDENTITIES),
    ('CUHK03Detected', IDENTITIES), ('VehicleID', IDENTITIES), ('FixedSmallVehicleID', IDENTITIES)])
def test_layouts_are_read_by_fastreid(data, name, identities):
    check_data(config(data, name))
    dataset = DATASET_REGISTRY.get(name)(root=str(data))
    assert len({item[1] for item in dataset.train}) == identities
    assert not {item[1] for item in dataset.train} & {item[1] for item in dataset.query}


def test_cuhk03_boxes_are_told_apart(data):
    paths = {name: [item[0] for item in DATASET_REGISTRY.get(name)(root=str(data)).query]
             for name in ('CUHK03', 'CUHK03Detected')}
    assert all('images_labeled' in path for path in paths['CUHK03'])
    assert all('images_detected' in path for path in paths['CUHK03Detected'])
    assert len(paths['CUHK03']) == len(paths['CUHK03Detected']) > 0


def test_vehicle_gallery_stays_the_same(data):
    def gallery(name):
        dataset = DATASET_REGISTRY.get(name)(root=str(data))
        assert len(dataset.query) == VEHICLES * (SHOTS - 1)
        return dataset.gallery

    random.seed(5)
    stock = [gallery('SmallVehicleID') for _ in range(8)]
    assert any(sorted(g) != sorted(stock[0]) for g in stock), 'stock draws a new one each time'
    random.seed(5)
    first, state = gallery('FixedSmallVehicleID'), random.getstate()
    random.seed(6)
    assert gallery('FixedSmallVehicleID') == first and len(first) == VEHICLES
    random.seed(5)
    assert random.getstate() == state, 'the global generator is left alone'


def test_digits_have_disjoint_identities_and_two_cameras(tmp_path):
    counts = write_retrieval(tmp_path / 'digits')
    assert sum(counts.values()) == 1797
    assert write_retrieval(tmp_path / 'digits') == counts, 'a second call leaves it as it is'
    people = {}
    for folder in counts:
        names = [p.name for p in (tmp_path / 'digits' / folder).iterdir()]
        people[folder] = {name[:4] for name in names}
        cameras = {re.search(r'_c(\d)', name).group(1) for name in names}
        assert cameras == ({'1'} if folder == 'query' else {'1', '2'})
    assert people['query'] == people['bounding_box_test'] == {'0007', '0008', '0009', '0010'}
    assert not people['bounding_box_train'] & people['query']
    assert [name for _, name, _ in retrieval_digits()] == [name for _, name, _ in retrieval_digits()]
    with pytest.raises(FileExistsError, match='not the complete data set'):
        (tmp_path / 'other').mkdir()
        write_retrieval(tmp_path / 'other')


def test_processes_share_a_batch(tmp_path):
    root = market(tmp_path / 'set', TRAIN, [(9, 1)], [(9, 2)] * 10)
    cfg = config(root, 'Market1501', 'SOLVER.IMS_PER_BATCH', 16)
    check_data(cfg, processes=2)
    cfg.DATALOADER.SAMPLER_TRAIN = 'BalancedIdentitySampler'
    with pytest.raises(ValueError, match='in 2 processes need 8 identities'):
        check_data(cfg, processes=2)


def test_missing_data_says_where_it_was_looked_for(tmp_path):
    for name in ('Market1501', 'DukeMTMC', 'MSMT17', 'CUHK03', 'VehicleID'):
        with pytest.raises(FileNotFoundError, match=f'{name} cannot be read.*{tmp_path}.*DATASETS.ROOT'):
            check_data(config(tmp_path / 'gone', name))
    with pytest.raises(ValueError, match="no data set 'Marked1501'; registered are .*Market1501"):
        check_data(config(tmp_path, 'Marked1501'))


def market(root, train=(), query=(), gallery=()):
    """A set of images named ``(identity, camera)``."""
    parts = {'bounding_box_train': train, 'query': query, 'bounding_box_test': gallery}
    for folder, items in parts.items():
        (root / folder).mkdir(parents=True)
        for index, (identity, camera) in enumerate(items):
            name = f'{identity:04d}_c{camera}s1_{index:06d}_00.jpg'
            Image.new('RGB', (8, 8)).save(root / folder / name)
    return root


TRAIN = [(identity, 1 + shot % 2) for identity in range(1, 5) for shot in range(4)]


@pytest.mark.parametrize('train, query, gallery, overrides, words', [
    (TRAIN, [], [(9, 2)], [], '0 query and 1 gallery images'),
    (TRAIN, [(9, 1)], [], [], '1 query and 0 gallery images'),
    (TRAIN, [(9, 1)], [(9, 2)] * 9, [], 'FastReID reports Rank-10'),
    (TRAIN, [(9, 1)], [(9, 1), (8, 2)] * 5, [], 'no query has a gallery image of the same'),
    ([(1, 1)] * 9, [(9, 1)], [(9, 2)] * 10, [], '9 training images of 1 identities'),
    ([], [(9, 1)], [(9, 2)], [], '0 training images'),
    (TRAIN, [(9, 1)], [(9, 2)], ['SOLVER.IMS_PER_BATCH', 32], 'fill no batch of 32'),
    (TRAIN, [(9, 1)], [(9, 2)], ['SOLVER.IMS_PER_BATCH', 16],
     'batches of 16 with 2 images each need 8 identities, and there are 4'),
    (TRAIN, [(9, 1)], [(9, 2)], ['DATALOADER.NUM_INSTANCE', 16], 'need 0 identities'),
])
def test_sets_that_cannot_serve_are_refused(tmp_path, train, query, gallery, overrides, words):
    root = market(tmp_path / 'set', train, query, gallery)
    with pytest.raises(ValueError, match=words):
        check_data(config(root, 'Market1501', *overrides))


@pytest.mark.parametrize('option', ['CROP', 'FLIP', 'PADDING', 'CJ', 'AFFINE', 'AUTOAUG', 'AUGMIX',
                                    'REA', 'RPT'])
def test_every_augmentation_of_fastreid_runs_here(option):
    cfg = get_cfg()
    cfg.INPUT.SIZE_TRAIN = cfg.INPUT.CROP.SIZE = [64, 32]
    cfg.INPUT[option].ENABLED = True
    if 'PROB' in cfg.INPUT[option]:
        cfg.INPUT[option].PROB = 1.0
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 64, 3), dtype=np.uint8))
    transform = build_transforms(cfg)
    for _ in range(20):  # AUTOAUG and AUGMIX draw their operations
        assert transform(image).shape == (3, 64, 32)
