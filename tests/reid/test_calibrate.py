"""One-pass denoising of finished re-identification models."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fastreid.modeling.meta_arch import build_model

from denoiserep_ext import DenoiseRepConfig, convert_, explicit_path
from denoiserep_ext.calibrate.denoising import Denoising
from denoiserep_ext.calibrate.fastreid import FastReID
from denoiserep_ext.calibrate.images import DataOptions
from denoiserep_ext.calibrate.one_pass import PassOptions
from denoiserep_ext.calibrate.passing import PassMoments
from denoiserep_ext.calibrate.plans import SweepOptions
from denoiserep_ext.calibrate.run import calibrate
from denoiserep_ext.core.fit.embedding import class_posterior
from denoiserep_ext.core.fit.one_pass import solve_
from denoiserep_ext.reid import Trainer
from denoiserep_ext.reid.config import get_cfg
from denoiserep_ext.reid.ranking import rankings
from denoiserep_ext.reid.validation import by_identity, hold_out_identities, split_queries
from tests.reid.helpers import load, reid_config
from tests.reid.test_stock import WORKER, score_in_stock_fastreid

ROOT = Path(__file__).parents[2]
DATA = DataOptions(images=200, val_images=200)

HEADS = {
    'BNNeck': ('MODEL.HEADS.WITH_BNNECK', True),
    'nothing': ('MODEL.HEADS.WITH_BNNECK', False),
    'embedding': ('MODEL.HEADS.WITH_BNNECK', False, 'MODEL.HEADS.EMBEDDING_DIM', 32),
    'embedding and BNNeck': ('MODEL.HEADS.WITH_BNNECK', True, 'MODEL.HEADS.EMBEDDING_DIM', 32),
    'before the BNNeck': ('MODEL.HEADS.NAME', 'PreNeckHead', 'MODEL.HEADS.WITH_BNNECK', True),
}


@pytest.fixture
def trained(tmp_path, digits, baseline):
    """A config file and checkpoint with any head, its statistics far from the identity."""

    def make(*overrides):
        cfg = reid_config(tmp_path, digits, 'MODEL.META_ARCHITECTURE', 'Baseline',
                          'MODEL.HEADS.NUM_CLASSES', 6, *overrides)
        model = build_model(cfg)
        model.backbone.load_state_dict({
            key.removeprefix('backbone.'): value for key, value in load(baseline)['model'].items()
            if key.startswith('backbone.')})
        generator = torch.Generator().manual_seed(0)
        for layer in model.heads.bottleneck:
            if hasattr(layer, 'running_mean'):
                for tensor in (layer.running_mean, layer.bias.data):
                    tensor.copy_(torch.randn(tensor.shape, generator=generator))
                for tensor in (layer.running_var, layer.weight.data):
                    tensor.copy_(0.2 + torch.rand(tensor.shape, generator=generator))
        torch.save({'model': model.state_dict()}, tmp_path / 'model.pth')
        (tmp_path / 'config.yml').write_text(cfg.dump())
        return str(tmp_path / 'config.yml'), str(tmp_path / 'model.pth')

    return make


def embeddings(model, host, count=40):
    batch = host.collate([host.images[i] for i in range(count)])
    with torch.no_grad():
        return model.eval()({'images': batch['images'].clone()})


def test_denoised_file_embeds_as_the_unfused_model(tmp_path, digits, trained):
    config, checkpoint = trained()
    host = FastReID(config, checkpoint, DATA)
    calibrate(host, tmp_path / 'out.pth', Denoising('relative', 0.02),
              PassOptions(write=tmp_path / 'moments.pth'))
    plain, fused, unfused = (build_model(host.cfg) for _ in range(3))
    plain.load_state_dict(load(checkpoint)['model'])
    unfused.load_state_dict(load(checkpoint)['model'])
    fused.load_state_dict(load(tmp_path / 'out.pth')['model'], strict=True)
    convert_(unfused.backbone, DenoiseRepConfig(noise='relative', strength=0.02))
    solve_(unfused, PassMoments.read(tmp_path / 'moments.pth').layers)
    with explicit_path(unfused):
        explicit = embeddings(unfused, host)
    ours, before = embeddings(fused, host), embeddings(plain, host)
    assert (ours - explicit).abs().max() < 1e-4 * explicit.abs().max() < (before - ours).abs().max()


@pytest.mark.parametrize('head', HEADS)
def test_within_class_noise_through_every_head(tmp_path, trained, head):
    """The stock model of the file's config embeds as the map of the plain embeddings."""
    config, checkpoint = trained(*HEADS[head])
    host = FastReID(config, checkpoint, DATA)
    before = embeddings(host.model, host)
    figures = calibrate(host, tmp_path / 'out.pth', Denoising('within_class', 0.7),
                        PassOptions(write=tmp_path / 'moments.pth'))
    affine = class_posterior(PassMoments.read(tmp_path / 'moments.pth').embedding, 0.7, True)
    free = head == 'embedding and BNNeck'
    assert free == ('no cost' in figures['cost']) == (len(figures['files']) == 1)
    cfg = host.cfg
    if not free:
        from fastreid.config import get_cfg as stock_cfg
        text = (tmp_path / 'out.yml').read_text()
        assert 'DENOISEREP' not in text
        cfg = stock_cfg()
        cfg.merge_from_file(str(tmp_path / 'out.yml'))
    model = build_model(cfg)
    assert type(model.heads).__name__ == 'EmbeddingHead'
    model.load_state_dict(load(tmp_path / 'out.pth')['model'], strict=True)
    expected = affine(before)
    torch.testing.assert_close(embeddings(model, host), expected, rtol=1e-4,
                               atol=1e-4 * expected.abs().max().item())
    assert (expected - before).abs().max() > 1e-2


@pytest.mark.matrix
def test_files_score_in_stock_fastreid_what_the_tool_says(tmp_path, digits, trained):
    config, checkpoint = trained()
    host = FastReID(config, checkpoint, DATA)
    calibrate(host, tmp_path / 'layers.pth', Denoising('relative', 0.01), PassOptions())
    assert score_in_stock_fastreid(host.cfg, tmp_path / 'layers.pth', tmp_path) == host.test()
    calibrate(host, tmp_path / 'embedding.pth', Denoising('within_class', 1.0), PassOptions())
    out = tmp_path / 'stock.json'
    subprocess.run([sys.executable, '-W', 'ignore', str(WORKER), str(tmp_path / 'embedding.yml'),
                    str(tmp_path / 'embedding.pth'), str(out)], check=True, cwd=tmp_path,
                   capture_output=True, env={**os.environ, 'FASTREID_DATASETS': str(digits)})
    assert json.loads(out.read_text()) == host.test()


def test_sweep_validates_on_identities_of_their_own(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits, 'MODEL.META_ARCHITECTURE', 'Baseline')
    (tmp_path / 'config.yml').write_text(cfg.dump())
    host = FastReID(tmp_path / 'config.yml', baseline, DATA, validating=True)
    items, _ = host.val
    passing = {host.images.img_items[i][0] for i in host.order}
    assert passing and not passing & {item[0] for item in items}
    figures = calibrate(host, tmp_path / 'out.pth', Denoising(), PassOptions(),
                        SweepOptions(['unit', 'within_class'], [0.01, 1.0]))
    assert figures['metric'] == 'mAP' and len(figures['points']) == 7
    assert figures['test']['plain'] == {
        name: float(value) for name, value in Trainer.test(host.cfg, host.model).items()
        if name != 'dataset'}


def test_validation_metric_is_the_evaluators(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits, 'MODEL.META_ARCHITECTURE', 'Baseline')
    (tmp_path / 'config.yml').write_text(cfg.dump())
    host = FastReID(tmp_path / 'config.yml', baseline, DATA, validating=True)
    metrics, found = host._evaluate(*host.val)
    precisions = [100 * r.average_precision for r in rankings(found)]
    assert metrics['mAP'] == pytest.approx(np.mean(precisions), rel=1e-6)
    units = by_identity(found, 'mAP')
    assert len(units) == len({item[1] for item in host.val[0]})
    identities = found.identities[:found.num_query]
    first = [p for p, identity in zip(precisions, identities) if identity == identities[0]]
    assert units[0] == pytest.approx(np.mean(first))
    assert by_identity(found, 'Rank-1').mean() <= 100


def test_held_out_identities_and_their_queries():
    items = [(f'{i}-{c}-{k}', i, c) for i in range(9) for c in range(3) for k in range(5)]
    items += [('lonely', 9, 0)]
    stay, held = hold_out_identities(items, 30, torch.Generator().manual_seed(0))
    assert sorted(stay + held) == sorted(items)
    assert not {i for _, i, _ in stay} & {i for _, i, _ in held}
    assert 30 <= len(held) < 60
    every, half = hold_out_identities(items, None, torch.Generator().manual_seed(0))
    assert len({i for _, i, _ in half}) == 5
    query, gallery = split_queries(items)
    assert len(query) + len(gallery) == len(items) and len(query) == 27
    where = {(identity, camera) for _, identity, camera in gallery}
    for _, identity, camera in query:
        assert any(i == identity and c != camera for i, c in where)
    assert all(path != 'lonely' for path, _, _ in query)
    few = [('a', 1, 0), ('b', 1, 1)]
    assert [len(part) for part in split_queries(few)] == [1, 1]


@pytest.mark.matrix
def test_two_processes_write_what_one_writes(tmp_path, trained):
    config, checkpoint = trained()
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    for name, launcher in (('one', [sys.executable]), ('two', torchrun)):
        subprocess.run([*launcher, str(ROOT / 'tools/calibrate.py'), config, checkpoint, '--out',
                        str(tmp_path / f'{name}.pth'), '--sweep', '0.01', '--write-anyway',
                        '--batch-size', '32', '--save-moments', str(tmp_path / f'{name}-moments.pth')],
                       check=True, cwd=ROOT, capture_output=True,
                       env={**os.environ, 'OMP_NUM_THREADS': '1'})
    one, two = (PassMoments.read(tmp_path / f'{name}-moments.pth') for name in ('one', 'two'))
    assert one.images == two.images
    for name, mine in one.layers.items():
        torch.testing.assert_close(mine.covariance, two.layers[name].covariance, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(load(tmp_path / 'one.pth')['model'], load(tmp_path / 'two.pth')['model'])


@pytest.mark.parametrize('overrides, options, words', [
    ([], dict(val_dataset='Market1501', validating=True), 'must not mix'),
    ([], dict(val_dataset='Nowhere', validating=True), "no data set 'Nowhere'"),
    ([], dict(options=['MODEL.BACKBONE.DEPTH', 'x0_5']), 'of another model'),
    ([], dict(options=['MODEL.HEDS.NAME', 'x']), 'MODEL.HEDS'),
    ([], dict(validating=True, metric='Rank-2'), "reports no 'Rank-2'"),
])
def test_bad_input_is_named(tmp_path, trained, overrides, options, words):
    config, checkpoint = trained(*overrides)
    with pytest.raises(ValueError, match=words):
        FastReID(config, checkpoint, DATA, **options).validate()


def test_heads_without_a_place_for_the_map_are_refused(tmp_path, trained, digits):
    config, checkpoint = trained()
    host = FastReID(config, checkpoint, DATA)

    class OtherHead(type(host.model.heads)):
        pass

    host.model.heads.__class__ = OtherHead
    with pytest.raises(ValueError, match='has no EmbeddingHead'):
        calibrate(host, tmp_path / 'out.pth', Denoising('within_class', 1.0), PassOptions())
    folder = FastReID(config, checkpoint, DataOptions(images=50, folder=digits / 'query'))
    with pytest.raises(ValueError, match='there are none here'):
        calibrate(folder, tmp_path / 'out.pth', Denoising('within_class', 1.0), PassOptions())
    assert not (tmp_path / 'out.pth').exists()
    calibrate(folder, tmp_path / 'out.pth', Denoising('relative', 0.1), PassOptions())
    assert load(tmp_path / 'out.pth').keys() == {'model'}


def test_the_config_of_a_denoiserep_training_serves_as_well(tmp_path, digits, baseline):
    cfg = reid_config(tmp_path, digits, 'MODEL.DENOISEREP.LAYERS', ['conv3.conv'])
    (tmp_path / 'config.yml').write_text(cfg.dump())
    host = FastReID(tmp_path / 'config.yml', baseline, DATA)
    assert host.cfg.MODEL.META_ARCHITECTURE == 'Baseline'
    figures = calibrate(host, tmp_path / 'out.pth', Denoising('unit'), PassOptions())
    start, now = load(baseline)['model'], load(tmp_path / 'out.pth')['model']
    changed = {key for key in now if not torch.equal(now[key], start[key])}
    assert changed and all(key.endswith('conv3.conv.weight') for key in changed)
    assert figures['images'] == 200 and 'DENOISEREP' in get_cfg().MODEL
