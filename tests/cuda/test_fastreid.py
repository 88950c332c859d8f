"""DenoiseRep in FastReID's real trainer on a GPU, in mixed precision."""
import pytest
import torch

pytest.importorskip('fastreid', reason='needs FastReID (bash tools/install.sh)')

import denoiserep_ext.reid  # noqa: E402, F401  (makes FastReID importable)
from denoiserep_ext.core.layer.layers import denoise_layers  # noqa: E402
from denoiserep_ext.reid import Trainer  # noqa: E402
from tests.reid.conftest import baseline, digits  # noqa: E402, F401
from tests.reid.helpers import load, reid_config, stock_model, train  # noqa: E402


@pytest.mark.parametrize('recipe, solver, fold_interval', [
    ('joint', 'one_pass', 1), ('joint', 'one_pass', 3), ('joint', 'sgd', 1), ('frozen', 'one_pass', 1)])
def test_mixed_precision_training(tmp_path, digits, baseline, device, recipe, solver,  # noqa: F811
                                  fold_interval):
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline, 'SOLVER.AMP.ENABLED', True,
                      'MODEL.DENOISEREP.RECIPE', recipe, 'MODEL.DENOISEREP.SOLVER', solver,
                      'MODEL.DENOISEREP.FOLD_INTERVAL', fold_interval)
    trainer = train(cfg)
    if device.type == 'cuda':
        assert type(trainer._trainer).__name__ == 'AMPTrainer'
    live = trainer._last_eval_results
    assert all(layer.denoiser.fitted for _, layer in denoise_layers(trainer.model))
    checkpoint = load(tmp_path / 'model_final.pth')['model']
    assert checkpoint.keys() == load(baseline)['model'].keys()
    assert all(torch.isfinite(v).all() for v in checkpoint.values())
    # Of 360 queries a few near ties may fall the other way.
    for name, value in Trainer.test(cfg, stock_model(cfg, tmp_path / 'model_final.pth')).items():
        assert value == pytest.approx(live[name], abs=0.5), name
