"""Protocols that FastReID's data set classes lack, and checks before a run relies on them."""
from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import fastreid.data.build
from fastreid.config import CfgNode
from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.data.datasets.cuhk03 import CUHK03
from fastreid.data.datasets.vehicleid import LargeVehicleID, MediumVehicleID, SmallVehicleID

from .compat import names_in

RANKS = 10  # the last one that FastReID's evaluator reports, whatever the gallery


@DATASET_REGISTRY.register()
class CUHK03Detected(CUHK03):
    """CUHK-03 with the boxes of a detector, new protocol (767 / 700 identities); FastReID's
    ``CUHK03`` reads the hand-labelled boxes and has no config key for the others."""

    def __init__(self, root='datasets', **kwargs):
        super().__init__(root, cuhk03_labeled=False, **kwargs)


class _FixedGallery:
    """VehicleID's tests put one random image per vehicle into the gallery. FastReID draws it again
    each time it reads the lists, so that two evaluations compare different questions; here one draw
    (seed 0) stands for good and the global generator is left alone."""

    def process_dir(self, list_file, is_train=True):
        state = random.getstate()
        random.seed(0)
        try:
            return super().process_dir(list_file, is_train)
        finally:
            random.setstate(state)


@DATASET_REGISTRY.register()
class FixedSmallVehicleID(_FixedGallery, SmallVehicleID):
    """VehicleID, 800 test vehicles, a gallery that stays the same."""


@DATASET_REGISTRY.register()
class FixedMediumVehicleID(_FixedGallery, MediumVehicleID):
    """VehicleID, 1600 test vehicles, a gallery that stays the same."""


@DATASET_REGISTRY.register()
class FixedLargeVehicleID(_FixedGallery, LargeVehicleID):
    """VehicleID, 2400 test vehicles, a gallery that stays the same."""


@contextmanager
def data_root(cfg: CfgNode) -> Iterator[str]:
    """Within the context FastReID looks for data sets under ``DATASETS.ROOT``, if that is set."""
    before = fastreid.data.build._root
    if cfg.DATASETS.ROOT:
        fastreid.data.build._root = os.path.expanduser(cfg.DATASETS.ROOT)
    try:
        yield fastreid.data.build._root
    finally:
        fastreid.data.build._root = before


def check_data(cfg: CfgNode, train: bool = True, processes: int = 1) -> None:
    """Read the configured data sets once, before anything is written.

    Args:
        cfg: FastReID config with our keys.
        train: Look at the training sets, too.
        processes: How many will share a batch.

    Raises:
        FileNotFoundError: naming a data set that is not there and where it was looked for.
        ValueError: for a set that cannot be trained or tested on.
    """
    if train:
        items = [item for name in cfg.DATASETS.NAMES for item in read_dataset(cfg, name).train]
        _check_train(cfg, items, processes)
    for name in cfg.DATASETS.TESTS:
        dataset = read_dataset(cfg, name)
        check_test_items(name, dataset.query, dataset.gallery)


def read_dataset(cfg: CfgNode, name: str):
    """A registered data set, its lists read.

    Raises:
        ValueError: if there is no such set.
        FileNotFoundError: if it is not on disk.
    """
    known = names_in(DATASET_REGISTRY)
    if name not in known:
        raise ValueError(f'DATASETS: there is no data set {name!r}; registered are '
                         f'{", ".join(known)}.')
    with data_root(cfg) as root:
        try:
            return DATASET_REGISTRY.get(name)(root=root)
        except (RuntimeError, AssertionError, FileNotFoundError) as error:
            raise FileNotFoundError(
                f'{name} cannot be read: {error}. Data sets are looked for under {root}: set '
                f'DATASETS.ROOT, or the environment variable FASTREID_DATASETS.') from error


def _check_train(cfg: CfgNode, items: list, processes: int) -> None:
    names, batch = ', '.join(cfg.DATASETS.NAMES), cfg.SOLVER.IMS_PER_BATCH
    identities = len({item[1] for item in items})
    if identities < 2:
        raise ValueError(f'{names}: {len(items)} training images of {identities} identities; telling '
                         f'identities apart needs at least 2.')
    if len(items) < batch:
        raise ValueError(f'{names}: {len(items)} training images fill no batch of {batch}: lower '
                         f'SOLVER.IMS_PER_BATCH.')
    sampler, shots = cfg.DATALOADER.SAMPLER_TRAIN, cfg.DATALOADER.NUM_INSTANCE
    if sampler in ('NaiveIdentitySampler', 'BalancedIdentitySampler'):
        wanted = batch // processes // shots
        if sampler == 'BalancedIdentitySampler':
            wanted *= processes
        if not 1 <= wanted <= identities:  # the sampler would look for them forever
            share = f' in {processes} processes' if processes > 1 else ''
            raise ValueError(
                f'{names}: batches of {batch} with {shots} images each{share} need {wanted} '
                f'identities, and there are {identities}: change SOLVER.IMS_PER_BATCH or '
                f'DATALOADER.NUM_INSTANCE.')


def check_test_items(name: str, query: list, gallery: list) -> None:
    """See that something can be found, and that FastReID's evaluator can say so.

    Raises:
        ValueError: naming what is missing.
    """
    if not query or not gallery:
        raise ValueError(f'{name}: {len(query)} query and {len(gallery)} gallery images; both are '
                         f'needed to test.')
    if len(gallery) < RANKS:
        raise ValueError(f'{name}: {len(gallery)} gallery images, and FastReID reports Rank-{RANKS}: '
                         f'give it at least as many.')
    cameras = defaultdict(set)
    for _, identity, camera in gallery:
        cameras[identity].add(camera)
    if not any(cameras[identity] - {camera} for _, identity, camera in query):
        raise ValueError(f'{name}: no query has a gallery image of the same identity from another '
                         f'camera, so nothing can be found.')
