"""Real faces in Market-1501's layout, and an OSNet trained on MSMT17."""
import copy

import pytest
import torch

from denoiserep_ext import DenoiseRepConfig, convert_, fit_one_pass_, fuse_
from denoiserep_ext.core.files.plain import KEY
from tests.measure.osnet import load_osnet, score, training_images
from tests.reid.helpers import load, reid_config, train
from tests.reid.test_stock import score_in_stock_fastreid


def embed(model, images):
    with torch.no_grad():
        return model({'images': images.clone()})


def test_osnet_at_zero_strength_is_osnet(real_data):
    model, images = load_osnet(real_data), training_images(real_data)[:40]
    plain = embed(model, images)
    twin = copy.deepcopy(model)
    convert_(twin.backbone, DenoiseRepConfig(step_stride=0))
    fit_one_pass_(twin, images.split(20), forward=embed)
    torch.testing.assert_close(embed(fuse_(twin), images), plain, rtol=0, atol=0)


def test_osnet_knows_faces_it_never_saw_and_strength_can_hurt(real_data):
    """The weights and FastReID's evaluator, anchored; too strong a denoising is seen as such."""
    model, images = load_osnet(real_data), training_images(real_data)[:100]
    plain = score(real_data, model)
    assert plain['mAP'] == pytest.approx(91.63, abs=0.01)
    convert_(model.backbone, DenoiseRepConfig(update='posterior', step_stride=7))
    fit_one_pass_(model, images.split(50), forward=embed)
    assert score(real_data, fuse_(model))['mAP'] < plain['mAP'] - 10


def test_faces_train_and_score_in_stock_fastreid_as_live(tmp_path, real_data):
    cfg = reid_config(tmp_path, real_data / 'orl_market', 'INPUT.SIZE_TRAIN', [64, 56],
                      'INPUT.SIZE_TEST', [64, 56], 'SOLVER.IMS_PER_BATCH', 40,
                      'DATALOADER.NUM_INSTANCE', 4, 'SOLVER.BASE_LR', 3e-3)
    trainer = train(cfg)
    live = {k: float(v) for k, v in trainer._last_eval_results.items() if k != 'dataset'}
    assert KEY in load(tmp_path / 'model_final.pth')
    assert score_in_stock_fastreid(trainer.cfg, tmp_path / 'model_final.pth', tmp_path) == live
