"""Robustness of real models on real data, scored as the host's own Runner scores."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.structures import InstanceData

pytest.importorskip('imagecorruptions', reason='needs imagecorruptions-imaug')

from denoiserep_ext.core.files.reading import read_checkpoint  # noqa: E402
from denoiserep_ext.corruptions import Corruption  # noqa: E402
from denoiserep_ext.mm.corrupt import corrupted_dataset  # noqa: E402
from denoiserep_ext.mm.scoring import score  # noqa: E402
from denoiserep_ext.robustness.openmmlab import OpenMMLab  # noqa: E402
from tests.mm.dense import METRIC, dense_config  # noqa: E402
from tests.mm.helpers import build, classifier_config, train  # noqa: E402

ROOT = Path(__file__).parents[2]
NOISE = Corruption('gaussian_noise', 4)


def other(checkpoint, path):
    """Weights a little off."""
    state = read_checkpoint(checkpoint)['state_dict']
    generator = torch.Generator().manual_seed(0)
    for key, value in state.items():
        if value.is_floating_point() and 'running' not in key:
            value += 0.2 * value.abs().mean() * torch.randn(value.shape, generator=generator)
    torch.save({'state_dict': state}, path)
    return str(path)


def runners_scores(cfg, checkpoint, corruption, seed=0):
    """What ``mim test`` says of a checkpoint with a config whose pipeline has the corruption."""
    cfg = Config(cfg.to_dict())
    cfg.load_from = str(checkpoint)
    if corruption is not None:
        cfg.test_dataloader.dataset = corrupted_dataset(cfg.test_dataloader.dataset.to_dict(),
                                                        corruption, seed)
    return {name: value for name, value in build(cfg).test().items() if np.ndim(value) == 0}


def test_scores_are_the_runners_clean_and_worse(tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path, digits)
    checkpoints = [baseline(), other(baseline(), tmp_path / 'other.pth')]
    host = OpenMMLab(cfg, checkpoints, seed=3)
    found = {corruption: host.score((0, 1), corruption) for corruption in (None, NOISE)}
    for corruption, scores in found.items():
        assert scores == [runners_scores(cfg, path, corruption, 3) for path in checkpoints]
        assert host.score((1, ), corruption) == scores[1:]
    # Noise and the other weights each change an answer; two of four accuracies may well be the same.
    assert found[None] != found[NOISE]
    assert any(one != other for one, other in found.values())


@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_dense_models_side_by_side_score_as_alone_and_as_the_runner(tmp_path, scenes, dense_baseline,
                                                                   kind):
    cfg = dense_config(kind, tmp_path / 'work', scenes)
    checkpoints = [dense_baseline(kind), other(dense_baseline(kind), tmp_path / 'other.pth')]
    host = OpenMMLab(cfg, checkpoints)
    both = host.score((0, 1), NOISE)
    assert both[0] == pytest.approx(runners_scores(cfg, checkpoints[0], NOISE), nan_ok=True)
    assert both[1] == pytest.approx(host.score((1, ), NOISE)[0], nan_ok=True)
    if kind == 'segmentor':  # so small a detector finds nothing yet
        assert both[0] != both[1]
    assert host.main_metric(both[0]) == METRIC[kind]
    few = OpenMMLab(cfg, checkpoints, limit=3)
    assert few.images == '3 of 6 test images'
    assert few.score((0, ), NOISE)[0].keys() == both[0].keys()


class NearlyRight(torch.nn.Module):
    """Finds every box of the image that it is given, but the boxes are off by some pixels."""

    def __init__(self, off):
        super().__init__()
        self.off = off

    def test_step(self, batch):
        for sample in batch['data_samples']:
            assert 'pred_instances' not in sample, "another model's findings"
            truth = sample.gt_instances
            scale = torch.tensor(sample.scale_factor).repeat(2)  # back to the file's pixels
            sample.pred_instances = InstanceData(
                bboxes=truth.bboxes.tensor / scale + self.off, labels=truth.labels,
                scores=torch.linspace(1, 0.5, len(truth)))
        return batch['data_samples']


def test_detectors_on_drawn_images_score_as_on_their_annotations(tmp_path, scenes, dense_baseline):
    """Against COCO's file cut down to the drawn images, read by the stock data set and evaluator."""
    cfg = dense_config('detector', tmp_path / 'work', scenes, options={'test_evaluator.metric': 'bbox'})
    host = OpenMMLab(cfg, [dense_baseline('detector')], limit=3, seed=1)
    host.models = [NearlyRight(off) for off in (0, 1, 2)]
    scores = host.score((0, 1, 2), NOISE)
    whole = json.loads(Path(cfg.test_evaluator.ann_file).read_text())
    ids = [host._build(None).get_data_info(i)['img_id'] for i in host.drawn]
    whole['images'] = [image for image in whole['images'] if image['id'] in ids]
    whole['annotations'] = [a for a in whole['annotations'] if a['image_id'] in ids]
    (tmp_path / 'cut.json').write_text(json.dumps(whole))
    cfg.test_evaluator.ann_file = cfg.test_dataloader.dataset.ann_file = str(tmp_path / 'cut.json')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    for model, ours in zip(host.models, scores):
        expected, = score([model], dataset, cfg.test_evaluator, dataset.metainfo, 2, 0)
        assert ours == pytest.approx(expected)
    values = [each['coco/bbox_mAP'] for each in scores]
    assert values[0] == 1 and values == sorted(values, reverse=True) and values[2] > 0


def test_a_limit_scores_the_drawn_images(tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path, digits)
    host = OpenMMLab(cfg, [baseline()], limit=30, seed=2)
    assert host.images == '30 of 120 test images' and len(host.drawn) == 30
    indices = cfg.test_dataloader.dataset.indices
    cfg.test_dataloader.dataset.indices = [indices[i] for i in host.drawn]
    assert host.score((0, ), NOISE)[0] == runners_scores(cfg, baseline(), NOISE, 2)
    assert OpenMMLab(cfg, [baseline()], limit=500).images == '30 of 30 test images'


def test_plain_and_denoiserep_configs_and_checkpoints_all_load(tmp_path, digits, baseline):
    hooked = classifier_config(tmp_path / 'hooked', digits, epochs=1, hook={}, load_from=baseline())
    train(hooked)
    trained = tmp_path / 'hooked/epoch_1.pth'
    assert 'denoiserep' in torch.load(trained, map_location='cpu', weights_only=False)
    plain = classifier_config(tmp_path, digits)
    wrapped = classifier_config(tmp_path, digits)
    wrapped.model.backbone = dict(type='denoiserep_ext.DenoiseRepBackbone',
                                  backbone=wrapped.model.backbone)
    scores = [OpenMMLab(cfg, [baseline(), trained]).score((0, 1), NOISE)
              for cfg in (plain, hooked, wrapped)]
    assert scores[0] == scores[1] == scores[2]
    assert scores[0][1] == runners_scores(plain, trained, NOISE)


def test_settings_tell_what_decides_a_score(tmp_path, digits, baseline):
    cfg = classifier_config(tmp_path, digits)
    settings = OpenMMLab(cfg, [baseline()]).settings
    assert settings == OpenMMLab(cfg, [baseline()], batch_size=7, workers=1).settings
    json.dumps(settings)
    for change in (dict(seed=1), dict(limit=5),
                   dict(options={'model.data_preprocessor.mean': [0., 0., 0.]}),
                   dict(options={'test_dataloader.dataset.data_prefix': 'test'})):
        assert OpenMMLab(cfg, [baseline()], **change).settings != settings


def robustness_tool(monkeypatch, *arguments):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import robustness as tool
    monkeypatch.setattr(sys, 'argv', ['robustness', *map(str, arguments)])
    tool.main()


def test_the_tool_writes_figures_and_pictures_and_goes_on(tmp_path, digits, baseline, monkeypatch,
                                                          capsys):
    classifier_config(tmp_path / 'work', digits).dump(tmp_path / 'config.py')
    second = other(baseline(), tmp_path / 'other.pth')
    arguments = (tmp_path / 'config.py', baseline(), second, '--names', 'plain', 'other', '--limit', 40,
                 '--out', tmp_path / 'out', '--severities', 1, 5)
    robustness_tool(monkeypatch, *arguments, '--corruptions', 'contrast', 'noise')
    out = tmp_path / 'out'
    assert {path.name for path in out.iterdir()} == {'cells', 'robustness.json', 'robustness.csv',
                                                     'curves.png', 'heat_map.png'}
    figures = json.loads((out / 'robustness.json').read_text())
    assert figures['metric'] == 'accuracy/top1' and len(figures['cells']) == 2 * (1 + 4 * 2)
    summary = figures['summary']['accuracy/top1']
    assert summary['plain']['groups']['4 corruptions']['mCE'] == 100
    text = capsys.readouterr().out
    assert '40 of 120 test images' in text and 'in brackets: difference to plain' in text
    times = {path: path.stat().st_mtime_ns for path in (out / 'cells').iterdir()}
    robustness_tool(monkeypatch, *arguments, '--corruptions', 'noise', 'brightness')
    assert '14 of 18 cells are in' in capsys.readouterr().out
    assert times.items() <= {path: path.stat().st_mtime_ns for path in (out / 'cells').iterdir()}.items()


@pytest.mark.parametrize('arguments, words', [
    (['--corruptions', 'smog'], "Unknown corruption 'smog'"),
    (['--severities', '6'], 'gaussian_noise has no severity 6'),
    (['--corruptions', 'fog', 'contrast'], 'fog cannot be put on the test images'),
    (['--corruptions', 'fog', 'contrast'], 'These can: --corruptions contrast'),
    (['--limit', '0'], '--limit must be an integer >= 1'),
    (['--seed', '-1'], '--seed must be an integer >= 0'),
    (['--worse', 'both'], '--worse is for re-identification'),
    (['--names', 'one', 'two'], '1 checkpoints need as many different names'),
    (['--cfg-options', 'test_dataloader=None'], 'no test_dataloader'),
    (['checkpoint', 'resnet'], 'of another model'),
    (['checkpoint', 'missing.pth'], 'missing.pth: no such checkpoint'),
])
def test_bad_input_is_named_and_nothing_written(tmp_path, digits, baseline, arguments, words,
                                                monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier_config(tmp_path / 'work', digits).dump('config.py')
    checkpoint = baseline()
    if arguments[0] == 'checkpoint':
        checkpoint = baseline('resnet') if arguments[1] == 'resnet' else arguments[1]
        arguments = []
    before = set(tmp_path.rglob('*'))
    with pytest.raises(SystemExit) as error:
        robustness_tool(monkeypatch, 'config.py', checkpoint, '--out', 'out', *arguments)
    assert words in str(error.value.code)
    assert set(tmp_path.rglob('*')) == before


def test_without_the_library_the_remedy_is_named(tmp_path, digits, baseline, monkeypatch):
    from denoiserep_ext.corruptions import images
    monkeypatch.chdir(tmp_path)
    classifier_config(tmp_path / 'work', digits).dump('config.py')
    images._library.cache_clear()
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(SystemExit) as error:
        robustness_tool(monkeypatch, 'config.py', baseline(), '--out', 'out')
    assert 'pip install denoiserep_ext[corruptions]' in str(error.value.code)
    assert not Path('out').exists()
    images._library.cache_clear()
