"""Finished re-identification models denoised by images made worse."""
import json
import shutil
import sys

import pytest
import torch
from fastreid.data.build import fast_batch_collator
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms

pytest.importorskip('imagecorruptions', reason='needs imagecorruptions-imaug')

from denoiserep_ext import PairConfig, denoise_pairs_  # noqa: E402
from denoiserep_ext.calibrate.fastreid import FastReID  # noqa: E402
from denoiserep_ext.calibrate.images import DataOptions  # noqa: E402
from denoiserep_ext.calibrate.pairs import PairDenoising, PairOptions  # noqa: E402
from denoiserep_ext.calibrate.plans import PairSweepOptions  # noqa: E402
from denoiserep_ext.calibrate.run import calibrate  # noqa: E402
from denoiserep_ext.corruptions import Corruption  # noqa: E402
from denoiserep_ext.datasets.folders import images_below  # noqa: E402
from denoiserep_ext.reid.corrupt import corrupted_transforms  # noqa: E402
from denoiserep_ext.robustness.fastreid import FastReID as Robustness  # noqa: E402
from tests.reid.helpers import assert_same_state, load, reid_config, stock_model  # noqa: E402
from tests.reid.test_calibrate import ROOT  # noqa: E402
from tests.reid.test_stock import score_in_stock_fastreid  # noqa: E402

NOISE, BRIGHT = Corruption('gaussian_noise', 4), Corruption('brightness', 4)
UNJUDGED = PairDenoising(PairConfig(held_out=0.0, ridge=0.01, positions=8))


@pytest.fixture
def config(tmp_path, digits):
    cfg = reid_config(tmp_path, digits, 'MODEL.META_ARCHITECTURE', 'Baseline')
    (tmp_path / 'config.yml').write_text(cfg.dump())
    return tmp_path / 'config.yml'


def pair_host(config, checkpoint, data=None, **options):
    host = FastReID(config, checkpoint, data or DataOptions(images=40, batch_size=20), **options)
    host.layers = 'all'
    return host


def test_the_written_file_is_the_walk_by_hand(tmp_path, config, baseline):
    host = pair_host(config, baseline)
    figures = calibrate(host, tmp_path / 'out.pth', UNJUDGED, PairOptions([NOISE, BRIGHT]))
    assert figures['files'] == [str(tmp_path / 'out.pth')] and figures['config']['judge'] == 'cosine'
    model, items = stock_model(host.cfg, baseline), [host.images.img_items[i] for i in host.order]
    views = [CommDataset(items, transforms, relabel=False) for transforms in (
        build_transforms(host.cfg, is_train=False), corrupted_transforms(host.cfg, NOISE),
        corrupted_transforms(host.cfg, BRIGHT))]
    batches = [[fast_batch_collator([view[i] for i in indices])['images'] for view in views]
               for indices in (range(20), range(20, 40))]
    denoise_pairs_(model, [(clean, worse) for clean, *worse in batches],
                   PairConfig(layers={'backbone': 'all'}, held_out=0.0, ridge=0.01, positions=8),
                   lambda model, images: model({'images': images.clone()}))
    written = load(tmp_path / 'out.pth')['model']
    assert_same_state(model.state_dict(), stock_model(host.cfg, tmp_path / 'out.pth').state_dict())
    start = load(baseline)['model']
    changed = {key for key, value in written.items() if not torch.equal(value, start[key])}
    assert changed and all(key.startswith('backbone.') for key in changed)


@pytest.mark.matrix
def test_a_sweep_scores_as_stock_fastreid_and_tools_robustness_do(tmp_path, config, baseline, digits):
    host = pair_host(config, baseline, DataOptions(images=40, val_images=100), validating=True)
    figures = calibrate(host, tmp_path / 'out.pth', UNJUDGED, PairOptions([NOISE]),
                        PairSweepOptions(UNJUDGED, [NOISE], clean_weights=(0.3, ), write_anyway=True))
    assert figures['metric'] == 'mean mAP' and len(figures['points']) == 2, 'the ridge is 0.01 already'
    for point in figures['points']:
        metrics = point['metrics']
        assert point['value'] == pytest.approx((metrics['mAP'] + metrics['gaussian_noise@4: mAP']) / 2)
    measured = Robustness(config, [baseline, tmp_path / 'out.pth'], 'both').score([0, 1], NOISE)
    for name, metrics in zip(('plain', 'denoised'), measured):
        worse = {key.removeprefix('gaussian_noise@4: '): value
                 for key, value in figures['test'][name].items() if '@' in key}
        assert worse == pytest.approx(metrics)
    clean = {key: value for key, value in figures['test']['denoised'].items() if '@' not in key}
    assert score_in_stock_fastreid(host.cfg, tmp_path / 'out.pth', tmp_path) == clean


def test_the_judge_compares_embeddings(tmp_path, config, baseline):
    host = pair_host(config, baseline)
    calibrate(host, tmp_path / 'out.pth', PairDenoising(PairConfig(positions=8)), PairOptions([NOISE]))
    verdict = json.loads((tmp_path / 'out_pairs.json').read_text())['verdict']
    assert verdict['kind'] == 'cosine' and verdict['images'] == 8
    assert verdict['before'][0] == pytest.approx(0, abs=1e-12)
    assert (tmp_path / 'out.pth').exists() == verdict['accepted']


def test_two_folders_through_the_tool(tmp_path, config, baseline, digits, monkeypatch, capsys):
    """And a damaged image among them is named before anything is written."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import calibrate as tool
    source = images_below(digits)[:20]
    for folder in ('clean', 'worse'):
        (tmp_path / folder).mkdir()
        for path in source:
            shutil.copy(path, tmp_path / folder)
    arguments = ['calibrate', str(config), baseline, '--out', str(tmp_path / 'out.pth'), '--pairs',
                 str(tmp_path / 'clean'), str(tmp_path / 'worse'), '--positions', '8']
    monkeypatch.setattr(sys, 'argv', arguments)
    tool.main()
    assert 'No gain, no model written' in capsys.readouterr().out, 'both folders are the same'
    assert not (tmp_path / 'out.pth').exists()
    (tmp_path / 'worse' / source[3].name).write_bytes(source[3].read_bytes()[:100])
    monkeypatch.setattr(sys, 'argv', [*arguments, '--overwrite'])
    with pytest.raises(SystemExit, match=rf'worse/{source[3].name} is damaged or not an image'):
        tool.main()
