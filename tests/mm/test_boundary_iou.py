"""Boundary IoU against its definition, pixel by pixel, and against erosions by other packages."""
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from scipy import ndimage

from denoiserep_ext.mm.boundary_iou import BIoUMetric, boundary_areas
from denoiserep_ext.registry import METRICS

IGNORE = 255


def zone_by_definition(mask, distance):
    """Pixels of a mask with a pixel outside of it (or of the image) at most ``distance`` away along
    both axes, found by looking."""
    height, width = mask.shape
    zone = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask)):
        around = [(j, i) for j in range(y - distance, y + distance + 1)
                  for i in range(x - distance, x + distance + 1)]
        zone[y, x] = any(not (0 <= j < height and 0 <= i < width) or not mask[j, i]
                         for j, i in around)
    return zone


def zone_by_cv2(mask, distance):
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
    return mask & ~eroded[1:-1, 1:-1].astype(bool)


def zone_by_scipy(mask, distance):
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)


def areas(zone, predicted, label, classes, ratio):
    """Intersection and union per class, mask by mask."""
    distance = max(1, round(ratio * math.hypot(*label.shape)))
    valid = label != IGNORE
    pairs = [(zone((predicted == c) & valid, distance), zone((label == c) & valid, distance))
             for c in range(classes)]
    return [(a & b).sum() for a, b in pairs], [(a | b).sum() for a, b in pairs]


@pytest.mark.parametrize('zone', [zone_by_definition, zone_by_cv2, zone_by_scipy])
@given(seed=st.integers(0, 2**31), height=st.integers(3, 24), width=st.integers(3, 24),
       ratio=st.sampled_from([0.001, 0.02, 0.1, 0.2]), cell=st.integers(1, 6))
def test_areas_equal_those_of_the_definition(zone, seed, height, width, ratio, cell):
    rng = np.random.default_rng(seed)

    def blocks(values):
        coarse = rng.choice(values, (height // cell + 1, width // cell + 1))
        return np.kron(coarse, np.ones((cell, cell), int))[:height, :width]

    predicted, label = blocks([0, 1, 2]), blocks([0, 1, 2, IGNORE])
    ours = boundary_areas(torch.from_numpy(predicted), torch.from_numpy(label), 4, IGNORE, ratio)
    theirs = areas(zone, predicted, label, 4, ratio)
    assert [a.tolist() for a in ours] == [list(a) for a in theirs]


def measure(predicted, label, classes=2, **options):
    metric = BIoUMetric(**options)
    metric.dataset_meta = {'classes': list('abcdef'[:classes])}
    metric.process(None, [{'pred_sem_seg': {'data': torch.tensor(p)[None]},
                           'gt_sem_seg': {'data': torch.tensor(t)[None]}}
                          for p, t in zip(predicted, label)])
    return metric.compute_metrics(metric.results)['mBIoU']


def square(size, margin, value=1):
    mask = np.zeros((size, size), int)
    mask[margin:size - margin, margin:size - margin] = value
    return mask


def test_hand_made_squares():
    """A 10 x 10 square on 20 x 20; d = 1. The zone of the prediction 2 pixels smaller is the ring
    inside, that of the ground truth the ring around it: nothing in common."""
    truth, smaller = square(20, 5), square(20, 6)
    assert measure([truth], [truth]) == 100
    ground = 100 * 76 / (76 + 44 + 36)  # image rim shared; the two inner rims are apart
    assert measure([smaller], [truth]) == pytest.approx((0 + ground) / 2, abs=0.01)
    # Twice the distance: rings of two pixels, of which the inner of one is the outer of the other.
    assert measure([smaller], [truth], dilation_ratio=0.07) > ground / 2


def test_areas_are_summed_over_images_before_dividing():
    truth, smaller, empty = square(20, 5), square(20, 6), square(20, 10)
    both = measure([truth, smaller], [truth, truth])
    one = (36 + 0) / (36 + 36 + 28)
    rim = (76 + 44 + 76) / (76 + 44 + 76 + 44 + 36)
    assert both == pytest.approx(100 * (one + rim) / 2, abs=0.01)
    assert measure([empty], [empty], classes=3) == 100, 'classes in neither map do not count'


def test_ignored_pixels_count_nowhere():
    truth = square(20, 5)
    label = truth.copy()
    label[:, :3] = IGNORE
    scribbled = truth.copy()
    scribbled[:, :3] = 1
    assert measure([scribbled], [label]) == measure([truth], [label]) == 100
    assert math.isnan(measure([truth], [np.full((20, 20), IGNORE)]))


def test_registered_in_every_scope_and_checked():
    pytest.importorskip('mmseg')
    init_default_scope('mmseg')
    from mmseg.registry import METRICS as SEG
    assert type(SEG.build(dict(type='denoiserep_ext.BIoUMetric'))) is BIoUMetric
    assert 'BIoUMetric' in METRICS
    with pytest.raises(ValueError, match='dilation_ratio must lie in'):
        BIoUMetric(dilation_ratio=2)
