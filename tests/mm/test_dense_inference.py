"""Saved checkpoints in the hosts' inference APIs, with the stock config."""
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from denoiserep_ext.core.files.export import export_plain
from denoiserep_ext.core.layer.fusion import held_fused
from tests.mm.dense import dense_config, middle_and_last
from tests.mm.helpers import train

pytest.importorskip('mmdet', reason='needs mmdet (bash tools/install.sh)')
pytest.importorskip('mmseg', reason='needs mmseg (bash tools/install.sh)')

STRONG = dict(update='posterior', step_stride=5, noise='relative')


@pytest.fixture(params=['checkpoint', 'fused'])
def trained(request, tmp_path, scenes, dense_baseline):
    """Kind -> (live runner, stock config file, file to load, an image)."""

    def trained(kind):
        runner = train(dense_config(kind, tmp_path / 'run', scenes, load_from=dense_baseline(kind),
                                    hook=STRONG))
        stock = dense_config(kind, tmp_path / 'stock', scenes)
        stock.custom_hooks = []
        stock.dump(tmp_path / 'stock.py')
        assert 'DenoiseRep' not in (tmp_path / 'stock.py').read_text()
        file = tmp_path / 'run' / middle_and_last(kind)[1]
        if request.param == 'fused':
            export_plain(file, tmp_path / 'fused.pth')
            file = tmp_path / 'fused.pth'
        return runner, str(tmp_path / 'stock.py'), str(file), str(scenes / 'val/00001.png')

    return trained


def live_prediction(runner, inference, image):
    """What the trained model itself says, evaluating its fused weights."""
    runner.model.cfg = runner.cfg
    runner.model.eval()
    with held_fused(runner.model), DefaultScope.overwrite_default_scope(runner.cfg.default_scope):
        return inference(runner.model, image)


def test_detector(trained):
    from mmdet.apis import DetInferencer, inference_detector, init_detector
    runner, config, checkpoint, image = trained('detector')
    expected = live_prediction(runner, inference_detector, image).pred_instances
    assert len(expected) > 3
    found = inference_detector(init_detector(config, checkpoint, device='cpu'), image).pred_instances
    for field in ('bboxes', 'scores', 'labels', 'masks'):
        assert torch.equal(found[field], expected[field]), field
    said = DetInferencer(config, checkpoint, device='cpu')(image, pred_score_thr=0)['predictions'][0]
    np.testing.assert_allclose(said['scores'], expected.scores.tolist())
    np.testing.assert_allclose(said['bboxes'], expected.bboxes.tolist())


def test_segmentor(trained):
    from mmseg.apis import MMSegInferencer, inference_model, init_model
    runner, config, checkpoint, image = trained('segmentor')
    expected = live_prediction(runner, inference_model, image).seg_logits.data
    model = init_model(config, checkpoint, device='cpu')
    assert torch.equal(inference_model(model, image).seg_logits.data, expected)
    said = MMSegInferencer(config, checkpoint, device='cpu')(image)['predictions']
    assert np.array_equal(said, expected.argmax(0).numpy())
