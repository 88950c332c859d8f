"""Robustness of re-identification models, scored by FastReID's evaluator."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fastreid.data.data_utils import read_image
from fastreid.data.transforms import build_transforms
from fastreid.evaluation import ReidEvaluator
from PIL import Image

pytest.importorskip('imagecorruptions', reason='needs imagecorruptions-imaug')

from denoiserep_ext.corruptions import Corruption, corrupt  # noqa: E402
from denoiserep_ext.reid import Trainer  # noqa: E402
from denoiserep_ext.robustness.cells import checkpoints_of  # noqa: E402
from denoiserep_ext.robustness.fastreid import FastReID  # noqa: E402
from denoiserep_ext.robustness.run import Plan, measure  # noqa: E402
from tests.reid.helpers import load, reid_config, stock_model  # noqa: E402

ROOT = Path(__file__).parents[2]
NOISE = Corruption('gaussian_noise', 5)


@pytest.fixture
def config(tmp_path, digits):
    cfg = reid_config(tmp_path, digits, 'MODEL.META_ARCHITECTURE', 'Baseline')
    (tmp_path / 'config.yml').write_text(cfg.dump())
    return tmp_path / 'config.yml'


@pytest.fixture
def two(tmp_path, baseline):
    """Two checkpoints of one model."""
    state = load(baseline)['model']
    generator = torch.Generator().manual_seed(0)
    for key, value in state.items():
        if key.endswith('conv.weight'):
            value += 0.3 * value.std() * torch.randn(value.shape, generator=generator)
    torch.save({'model': state}, tmp_path / 'other.pth')
    return [baseline, str(tmp_path / 'other.pth')]


def by_hand(host, checkpoint, worse, seed):
    """Images made worse one by one, embedded by the stock model, scored by the stock evaluator."""
    transforms = build_transforms(host.cfg, is_train=False)
    model = stock_model(host.cfg, checkpoint)
    parts, = host.tests.values()
    evaluator = ReidEvaluator(host.cfg, len(parts['queries']))
    for part, items in parts.items():
        images = []
        for path, _, _ in items:
            image = np.asarray(read_image(path))
            if part in worse:
                image = corrupt(image, NOISE.name, NOISE.severity, seed)
            images.append(transforms(Image.fromarray(image)))
        with torch.no_grad():
            features = model({'images': torch.stack(images).clone()})
        evaluator.process({'targets': torch.tensor([item[1] for item in items]),
                           'camids': torch.tensor([item[2] for item in items])}, features)
    return {name: float(value) for name, value in evaluator.evaluate().items()}


def test_clean_scores_are_the_trainers(config, two):
    host = FastReID(config, two)
    for model, metrics in zip(host.models, host.score((0, 1), None)):
        expected = Trainer.test(host.cfg, model)
        assert metrics == pytest.approx({name: expected[name] for name in metrics}, rel=1e-6)


def test_what_is_made_worse_is_what_was_asked_for(config, two):
    scores = {}
    for worse, parts in (('queries', ['queries']), ('gallery', ['gallery']),
                         ('both', ['queries', 'gallery'])):
        host = FastReID(config, two, worse, limit=20, seed=4)
        scores[worse] = host.score((0, 1), NOISE)
        for checkpoint, ours in zip(two, scores[worse]):
            assert ours == pytest.approx(by_hand(host, checkpoint, parts, 4), rel=1e-6)
        assert host.score((1, ), NOISE)[0] == pytest.approx(scores[worse][1], rel=1e-6)
    assert len({each[0]['mAP'] for each in scores.values()}) == 3, 'three different questions'


def test_a_limit_draws_queries_and_keeps_the_gallery(config, two):
    whole, few = FastReID(config, two), FastReID(config, two, limit=10)
    (full, ), (cut, ) = whole.tests.values(), few.tests.values()
    assert len(cut['queries']) == 10 and set(cut['queries']) < set(full['queries'])
    assert cut['gallery'] == full['gallery']
    assert '10 queries, ' in few.images and 'both made worse' in few.images


def test_a_gallery_that_stays_clean_is_embedded_once(tmp_path, config, two, monkeypatch):
    from denoiserep_ext.robustness import fastreid
    runs = []
    embed = fastreid.embed_images
    monkeypatch.setattr(fastreid, 'embed_images', lambda models, data, size, workers, words: runs.append(
        words) or embed(models, data, size, workers, words))
    host = FastReID(config, two, 'queries', limit=10)
    measure(host, checkpoints_of([Path(path) for path in two]), Plan(('contrast', ), (1, 5)),
            tmp_path / 'out')
    assert runs == ['clean queries', 'clean gallery', 'contrast@1 queries', 'contrast@5 queries']


def test_several_test_sets_are_told_apart(tmp_path, digits, two, monkeypatch):
    from denoiserep_ext.robustness.run import require_applicable
    cfg = reid_config(tmp_path, digits, 'MODEL.META_ARCHITECTURE', 'Baseline', 'DATASETS.TESTS',
                      ('Market1501', 'OtherMarket'))
    from fastreid.data.datasets import DATASET_REGISTRY
    from fastreid.data.datasets.market1501 import Market1501
    monkeypatch.setitem(DATASET_REGISTRY._obj_map, 'OtherMarket', Market1501)
    (tmp_path / 'two.yml').write_text(cfg.dump())
    host = FastReID(tmp_path / 'two.yml', two[:1], limit=10)
    require_applicable(host, Plan(('fog', ), (1, )))
    metrics, = host.score((0, ), None)
    assert metrics['Market1501/mAP'] == metrics['OtherMarket/mAP']
    assert host.main_metric(metrics) == 'Market1501/mAP'


def robustness_tool(monkeypatch, *arguments):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import robustness as tool
    monkeypatch.setattr(sys, 'argv', ['robustness', *map(str, arguments)])
    tool.main()


def test_the_tool_takes_a_config_with_denoiserep(tmp_path, digits, two, monkeypatch, capsys):
    cfg = reid_config(tmp_path, digits)
    assert cfg.MODEL.META_ARCHITECTURE == 'DenoiseRep'
    (tmp_path / 'config.yml').write_text(cfg.dump())
    robustness_tool(monkeypatch, tmp_path / 'config.yml', *two, '--worse', 'gallery', '--limit', 10,
                    '--corruptions', 'pixelate', '--severities', 4, '--out', tmp_path / 'out')
    figures = json.loads((tmp_path / 'out/robustness.json').read_text())
    assert figures['metric'] == 'mAP' and 'gallery made worse' in figures['images']
    assert {'mAP', 'Rank-1', 'mINP'} <= set(figures['summary'])
    assert 'pixelate' in capsys.readouterr().out
    assert (tmp_path / 'out/heat_map.png').exists() and (tmp_path / 'out/curves.png').exists()


@pytest.mark.parametrize('arguments, words', [
    (['--opts', 'DATASETS.TESTS', '()'], 'DATASETS.TESTS names no data set'),
    (['--opts', 'DATASETS.TESTS', "('Nowhere',)"], "no data set 'Nowhere'"),
    (['--opts', 'MODEL.BACKBONE.DEPTH', 'x0_5'], 'another model'),
    (['--metric', 'mIoU'], "reports no 'mIoU'"),
])
def test_bad_input_is_named(tmp_path, config, two, monkeypatch, arguments, words):
    with pytest.raises(SystemExit) as error:
        robustness_tool(monkeypatch, config, two[0], '--limit', 10, '--corruptions', 'contrast',
                        '--severities', 1, '--out', tmp_path / 'out', *arguments)
    assert words in str(error.value.code)
    assert not (tmp_path / 'out/robustness.json').exists()


def test_a_part_that_there_is_not_is_refused(config, two):
    with pytest.raises(ValueError, match='Unknown part .probes.'):
        FastReID(config, two, 'probes')
