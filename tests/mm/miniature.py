"""Four-image data sets in the layouts of the real ones, for the stock data set classes."""
from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

COUNT = 4


def image(seed: int, size: tuple[int, int] = (96, 80)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image(seed)).save(path)


def imagenet(root: Path) -> None:
    """train/ and val/ with meta/*.txt."""
    (root / 'meta').mkdir(parents=True)
    for split in ('train', 'val'):
        lines = []
        for i in range(COUNT):
            name = f'n0144{i}/{split}_{i}.JPEG'
            save(root / split / name, i)
            lines.append(f'{name} {i}')
        (root / 'meta' / f'{split}.txt').write_text('\n'.join(lines))


def cub(root: Path) -> None:
    """images/ and the three lists, half train, half test."""
    images, labels, split = [], [], []
    for i in range(1, 2 * COUNT + 1):
        name = f'{i:03d}.Bird/Bird_{i}.jpg'
        save(root / 'images' / name, i)
        images.append(f'{i} {name}')
        labels.append(f'{i} {i}')
        split.append(f'{i} {i % 2}')
    for name, lines in (('images', images), ('image_class_labels', labels),
                        ('train_test_split', split)):
        (root / f'{name}.txt').write_text('\n'.join(lines))


def pet(root: Path) -> None:
    """images/ and annotations/{trainval,test}.txt."""
    (root / 'annotations').mkdir(parents=True)
    for split in ('trainval', 'test'):
        lines = []
        for i in range(COUNT):
            save(root / 'images' / f'{split}_{i}.jpg', i)
            lines.append(f'{split}_{i} {i + 1} 1 1')
        (root / 'annotations' / f'{split}.txt').write_text('\n'.join(lines))


def flowers(root: Path) -> None:
    """jpg/, imagelabels.mat and setid.mat."""
    import mat4py
    for i in range(1, 2 * COUNT + 1):
        save(root / 'jpg' / f'image_{i:05d}.jpg', i)
    mat4py.savemat(str(root / 'imagelabels.mat'), {'labels': list(range(1, 2 * COUNT + 1))})
    mat4py.savemat(str(root / 'setid.mat'), {'trnid': [1, 2], 'valid': [3, 4], 'tstid': [5, 6, 7, 8]})


def cifar10(root: Path) -> dict[str, list]:
    """cifar-10-batches-py/; returns the class attributes that hold the checksums of these files."""
    folder = root / 'cifar-10-batches-py'
    folder.mkdir(parents=True)

    def batch(name: str, content: dict) -> list:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    images = {'data': np.stack([image(i, (32, 32)).transpose(2, 0, 1).ravel() for i in range(COUNT)]),
              'labels': list(range(COUNT))}
    meta = batch('batches.meta', {'label_names': list('abcdefghij')})
    return {'train_list': [batch('data_batch_1', images)], 'test_list': [batch('test_batch', images)],
            'meta': {'filename': meta[0], 'key': 'label_names', 'md5': meta[1]}}


def coco(root: Path) -> None:
    """{train,val}2017/ and annotations/instances_*.json: two objects an image, one of them a crowd
    in the last."""
    from mmdet.datasets import CocoDataset
    classes = CocoDataset.METAINFO['classes']
    (root / 'annotations').mkdir(parents=True)
    for split in ('train2017', 'val2017'):
        images, annotations = [], []
        for i in range(COUNT):
            save(root / split / f'{i:012d}.jpg', i)
            images.append({'id': i, 'file_name': f'{i:012d}.jpg', 'height': 96, 'width': 80})
            for left, top, category, crowd in ((8, 8, 1, 0), (36, 40, 18, int(i == COUNT - 1))):
                box = [left, top, 40, 44]
                ring = [left, top, left + 40, top, left + 40, top + 44, left, top + 44]
                annotations.append({
                    'id': len(annotations) + 1, 'image_id': i, 'category_id': category, 'bbox': box,
                    'area': 40 * 44, 'iscrowd': crowd,
                    'segmentation': {'counts': [96 * left, 96 * 40, 96 * (80 - left - 40)],
                                     'size': [96, 80]} if crowd else [ring]})
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps({
            'images': images, 'annotations': annotations,
            'categories': [{'id': i, 'name': name} for i, name in enumerate(classes, 1)]}))


def ade20k(root: Path) -> None:
    """images/ and annotations/, each with training/ and validation/; label 0 is to be ignored."""
    for split in ('training', 'validation'):
        for i in range(COUNT):
            save(root / 'images' / split / f'ADE_{i}.jpg', i)
            labels = np.full((96, 80), i + 1, np.uint8)
            labels[:20], labels[40:, 30:] = 0, 150
            path = root / 'annotations' / split / f'ADE_{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(path)


WRITERS = {'imagenet': (imagenet, 'data/imagenet'), 'cub': (cub, 'data/CUB_200_2011'),
           'pet': (pet, 'data/Oxford-IIIT_Pets'), 'flowers102': (flowers, 'data/Flowers102'),
           'cifar10': (cifar10, 'data/cifar10'), 'coco': (coco, 'data/coco'),
           'ade20k': (ade20k, 'data/ade/ADEChallengeData2016')}
