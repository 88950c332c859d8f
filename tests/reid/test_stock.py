"""FastReID without this package: what its files score there, and that its own training works here."""
import json
import subprocess
import sys
from pathlib import Path

import torch
from fastreid.engine.defaults import build_optimizer
from fastreid.utils.events import EventStorage

from denoiserep_ext.core.files.plain import KEY
from denoiserep_ext.reid import Trainer
from tests.reid.helpers import load, reid_config, train

WORKER = Path(__file__).with_name('stock_worker.py')


def score_in_stock_fastreid(cfg, weights, folder):
    """Metrics that FastReID's own DefaultTrainer.test gives in a process of its own."""
    config, out = folder / 'stock.yaml', folder / 'stock.json'
    config.write_text(cfg.dump())
    subprocess.run([sys.executable, '-W', 'ignore', str(WORKER), str(config), str(weights), str(out)],
                   check=True, cwd=folder, capture_output=True)
    return json.loads(out.read_text())


def test_checkpoint_scores_in_stock_fastreid_what_the_live_model_scored(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits, 'MODEL.WEIGHTS', baseline)
    trainer = train(cfg)
    live = {k: float(v) for k, v in trainer._last_eval_results.items() if k != 'dataset'}
    assert KEY in load(tmp_path / 'model_final.pth')
    assert score_in_stock_fastreid(trainer.cfg, tmp_path / 'model_final.pth', tmp_path) == live
    before = score_in_stock_fastreid(trainer.cfg, baseline, tmp_path)
    assert before != live and before['mAP'] > 100 / 4, 'four identities; this one has learned'


def test_parameters_move_as_a_plain_optimiser_moves_them(tmp_path, digits, baseline):
    """Present torch drops gradients in zero_grad; FastReID's flat buffers would never step again."""
    cfg = reid_config(tmp_path, digits, 'MODEL.META_ARCHITECTURE', 'Baseline', 'MODEL.HEADS.NUM_CLASSES',
                      6, 'SOLVER.OPT', 'SGD', 'SOLVER.BIAS_LR_FACTOR', 2.0)
    models = [Trainer.build_model(cfg) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [build_optimizer(cfg, model, contiguous)[0]
                  for model, contiguous in zip(models, (True, False))]
    start = {key: value.clone() for key, value in models[0].state_dict().items()}
    for step in range(3):
        pixels = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(step)) * 255
        targets = torch.arange(8) // 4
        for model, optimizer in zip(models, optimizers):
            model.train()
            with EventStorage():
                losses = model({'images': pixels.clone(), 'targets': targets})
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    flat, plain = models[0].state_dict(), models[1].state_dict()
    moved = [[name for name, _ in models[0].named_parameters()
              if not torch.equal(state[name], start[name])] for state in (flat, plain)]
    assert moved[0] == moved[1] and len(moved[0]) > 300
    for key in flat:
        torch.testing.assert_close(flat[key], plain[key])


def test_nothing_lent_to_fastreid_is_left_behind():
    code = ("import denoiserep_ext.reid, sys, collections; "
            "assert not hasattr(collections, 'Mapping') and 'torch._six' not in sys.modules")
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)
