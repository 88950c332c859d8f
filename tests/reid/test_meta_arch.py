"""The meta-architecture around every registered one."""
import pytest
import torch

from denoiserep_ext.core.fit.one_pass import fit_one_pass_
from denoiserep_ext.core.layer.fusion import fuse_
from denoiserep_ext.core.layer.layers import denoise_layers, explicit_path
from denoiserep_ext.reid import Trainer, get_cfg, read_config

SIZE = (96, 32)  # MGN cuts the feature map into thirds


def config(*overrides):
    cfg = get_cfg()
    cfg.merge_from_list(['MODEL.META_ARCHITECTURE', 'DenoiseRep', 'MODEL.DEVICE', 'cpu',
                         'MODEL.HEADS.NUM_CLASSES', 5, 'MODEL.HEADS.WITH_BNNECK', True,
                         'INPUT.SIZE_TRAIN', list(SIZE), 'INPUT.SIZE_TEST', list(SIZE),
                         *overrides])
    return cfg


def backbone(name, depth, width, **more):
    options = {'NAME': name, 'DEPTH': depth, 'FEAT_DIM': width, **more}
    return [item for key, value in options.items() for item in (f'MODEL.BACKBONE.{key}', value)]


VIT = ['MODEL.HEADS.POOL_LAYER', 'Identity', 'MODEL.HEADS.NAME', 'PreNeckHead']
MODELS = {
    'resnet50': backbone('build_resnet_backbone', '50x', 2048),
    'resnet50-sbs': [*backbone('build_resnet_backbone', '50x', 2048, WITH_NL=True, WITH_IBN=True),
                     'MODEL.HEADS.POOL_LAYER', 'GeneralizedMeanPoolingP',
                     'MODEL.HEADS.CLS_LAYER', 'CircleSoftmax'],
    'osnet': backbone('build_osnet_backbone', 'x0_25', 128),
    'fastreid-vit': [*backbone('build_vit_backbone', 'base', 768), *VIT],
    'transreid-vit-s': [*backbone('build_transreid_vit_backbone', 'small', 384), *VIT],
    'transreid-vit-s-ics': [*backbone('build_transreid_vit_backbone', 'small_ics', 384), *VIT],
    'swin-t': backbone('build_swin_backbone', 'tiny', 768),
    'mgn': [*backbone('build_resnet_backbone', '50x', 2048), 'MODEL.DENOISEREP.META_ARCH', 'MGN',
            'MODEL.HEADS.EMBEDDING_DIM', 16],
    'moco': [*backbone('build_osnet_backbone', 'x0_25', 128), 'MODEL.DENOISEREP.META_ARCH', 'MoCo'],
}
LIGHT = ('osnet', 'transreid-vit-s', 'moco')


def images(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 255, (count, 3, *SIZE), generator=generator).float()


def embed(model, pixels):
    """FastReID normalises in place."""
    with torch.no_grad():
        return model({'images': pixels.clone()})


@pytest.mark.parametrize('model', [
    pytest.param(name, marks=[] if name in LIGHT else [pytest.mark.matrix]) for name in MODELS])
def test_fused_model_is_the_stock_model_and_equals_the_explicit_one(model, record_error):
    cfg = config(*MODELS[model], 'MODEL.DENOISEREP.UPDATE', 'posterior',
                 'MODEL.DENOISEREP.NOISE', 'relative')
    ours = Trainer.build_model(cfg).eval()
    cfg.MODEL.META_ARCHITECTURE = cfg.MODEL.DENOISEREP.META_ARCH
    stock = Trainer.build_model(cfg).eval()
    names = [name for name, _ in denoise_layers(ours)]
    assert names
    plain = {key: value for key, value in ours.state_dict().items() if '.denoiser.' not in key}
    assert list(plain) == list(stock.state_dict())
    stock.load_state_dict(plain, strict=True)
    pixels = images()
    unfitted = embed(ours, pixels)
    assert torch.equal(unfitted, embed(stock, pixels))

    fit_one_pass_(ours, [images(6, seed) for seed in (1, 2)],
                  forward=lambda m, batch: m({'images': batch.clone()}))
    with explicit_path(ours):
        explicit = embed(ours, pixels)
    fuse_(ours)
    stock.load_state_dict(ours.state_dict(), strict=True)
    assert [type(m) for m in ours.modules()] == [type(m) for m in stock.modules()]
    fused = embed(stock, pixels)
    scale = explicit.abs().max()
    error = ((fused - explicit).abs().max() / scale).item()
    record_error(f'FastReID {model}, float32, relative', error)
    assert error < 1e-4
    assert (fused - unfitted).abs().max() / scale > 1e-3, 'nothing was denoised'


def test_mgn_is_converted_in_all_its_branches():
    model = Trainer.build_model(config(*MODELS['mgn']))
    names = {name.split('.')[0] for name, _ in denoise_layers(model)}
    assert {'backbone', 'b1', 'b2', 'b3'} <= names


@pytest.mark.parametrize('name, words', [
    ('Distiller', 'distil first'), ('DenoiseRep', 'convert itself'),
    ('Baselin', "'Baselin' is not registered: there are Baseline"),
])
def test_architectures_that_cannot_be_are_refused_by_name(name, words):
    with pytest.raises(ValueError, match=words):
        Trainer.build_model(config(*MODELS['osnet'], 'MODEL.DENOISEREP.META_ARCH', name))


@pytest.mark.parametrize('key, value, words', [
    ('LAYERS', 'nothing', 'selects none of the'),
    ('TARGET', 'neck', "Baseline has no part 'neck' to convert: choose one of backbone, heads"),
    ('STEP_STRIDE', 1000, 'out of range'),
])
def test_conversions_that_cannot_be_are_refused(key, value, words):
    with pytest.raises(ValueError, match=words):
        Trainer.build_model(config(*MODELS['osnet'], f'MODEL.DENOISEREP.{key}', value))


def test_pre_neck_head_tests_before_and_trains_as_stock():
    cfg = config(*MODELS['transreid-vit-s'], 'MODEL.META_ARCHITECTURE', 'Baseline')
    ours = Trainer.build_model(cfg)
    cfg.MODEL.HEADS.NAME = 'EmbeddingHead'
    stock = Trainer.build_model(cfg)
    stock.load_state_dict(ours.state_dict())
    with torch.no_grad():
        for model in (ours, stock):
            model.heads.bottleneck[0].running_mean.fill_(0.5)
            model.eval()
        features = ours.backbone(images())
        torch.testing.assert_close(ours.heads(features), features[..., 0, 0])
        assert not torch.allclose(stock.heads(features), features[..., 0, 0])
        for model in (ours, stock):
            model.heads.train()
        targets = torch.tensor([0, 1, 2])
        for key, value in stock.heads(features, targets).items():
            assert torch.equal(ours.heads(features, targets)[key], value)


def test_vit_refuses_other_sizes():
    with pytest.raises(ValueError, match='huge.*choose one of small, small_ics, base, base_ics'):
        Trainer.build_model(config(*backbone('build_transreid_vit_backbone', 'huge', 384)))
    with pytest.raises(ValueError, match='STRIDE_SIZE must be'):
        Trainer.build_model(config(*backbone('build_transreid_vit_backbone', 'small_ics', 384,
                                             STRIDE_SIZE=(12, 12))))
    with pytest.raises(ValueError, match='build_swin_backbone has only tiny'):
        Trainer.build_model(config(*backbone('build_swin_backbone', 'base', 768)))
    model = Trainer.build_model(config(*MODELS['transreid-vit-s-ics'])).eval()
    with pytest.raises(ValueError, match='SIZE_TEST alike'):
        embed(model, torch.zeros(1, 3, 64, 32))


def test_published_sizes_have_their_parameters():
    """22 M and 86 M, as ViT-S/16 and ViT-B/16 are published; positions are of a 256x128 image."""
    counts = {}
    for name, width in (('small', 384), ('base', 768)):
        cfg = config(*backbone('build_transreid_vit_backbone', name, width), *VIT,
                     'INPUT.SIZE_TRAIN', [256, 128])
        counts[name] = sum(p.numel() for p in Trainer.build_model(cfg).backbone.parameters())
    assert counts == {'small': pytest.approx(21.6e6, rel=0.01), 'base': pytest.approx(85.7e6, rel=0.01)}


def test_config_file_is_enough(tmp_path, digits):
    """One line in a config of FastReID's own."""
    file = tmp_path / 'user.yml'
    file.write_text('MODEL:\n  META_ARCHITECTURE: DenoiseRep\n  BACKBONE:\n    DEPTH: 18x\n'
                    '    FEAT_DIM: 512\n  HEADS:\n    NUM_CLASSES: 3\n')
    model = Trainer.build_model(read_config(file))
    assert len(list(denoise_layers(model))) == 19  # 16 in blocks, 3 shortcuts


def test_vmamba_takes_official_weights(tmp_path):
    from denoiserep_ext import VMamba
    from denoiserep_ext.models.vmamba_checkpoints import official_names
    from denoiserep_ext.reid import get_cfg
    from denoiserep_ext.reid.backbones import build_vmamba_backbone
    cfg = get_cfg()
    cfg.merge_from_list(['MODEL.BACKBONE.NAME', 'build_vmamba_backbone', 'MODEL.BACKBONE.DEPTH', 'tiny',
                         'MODEL.BACKBONE.PRETRAIN', True])
    with pytest.raises(ValueError, match='needs MODEL.BACKBONE.PRETRAIN_PATH'):
        build_vmamba_backbone(cfg)
    state = official_names(VMamba('tiny').state_dict())
    norm = {f'classifier.norm.{kind}': state.pop(f'outnorm3.{kind}') + 1 for kind in ('weight', 'bias')}
    torch.save({'model': {**state, **norm, 'classifier.head.weight': torch.ones(5, 768)}},
               tmp_path / 'official.pth')
    cfg.MODEL.BACKBONE.PRETRAIN_PATH = str(tmp_path / 'official.pth')
    backbone = build_vmamba_backbone(cfg)
    assert torch.equal(backbone.outnorm3.weight, norm['classifier.norm.weight'])
    assert backbone(torch.randn(2, 3, 64, 32)).shape == (2, 768, 2, 1)
    cfg.MODEL.BACKBONE.DEPTH = 'small'
    with pytest.raises(ValueError, match="official.pth: the weights do not fit.*arch='tiny'"):
        build_vmamba_backbone(cfg)
