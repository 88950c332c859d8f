"""What ``auto`` selects in MMPretrain's backbones, counted by hand from their published structure; and
mmcv's conv with TensorFlow's padding."""
import pytest
import torch
from hypothesis import given
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.registry import DefaultScope
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from denoiserep_ext import DenoiseRepConfig, convert_, explicit_path, fuse_
from denoiserep_ext.core.layer.selection import select
from denoiserep_ext.registry import MODELS
from tests.core.layer.test_same_padding import check_fused_equals_explicit, settings
from tests.helpers import randomise_
from tests.selected import blocks_of

# Layers a block times blocks, plus the convs of projection shortcuts.
TABLE = {
    # ResNets and relatives: the convs of residual blocks, gates apart.
    ('ResNet', 18): dict(BasicBlock=2 * 8 + 3),
    ('ResNet', 50): dict(Bottleneck=3 * 16 + 4),
    ('SEResNet', 50): dict(SEBottleneck=3 * 16 + 4),
    ('ResNeSt', 50): dict(Bottleneck=2 * 16 + 4, SplitAttentionConv2d=1 * 16),
    ('Res2Net', 50): dict(Bottle2neck=(2 + 3) * 16 + 4),
    ('RegNet', 'regnetx_400mf'): dict(Bottleneck=3 * 22 + 4),
    ('HRNet', 'w18'): dict(Bottleneck=3 * 4 + 1, BasicBlock=2 * 4 * (1 * 2 + 4 * 3 + 3 * 4)),
    ('CSPDarkNet', 53): dict(DarknetBottleneck=2 * 23),
    ('ConvMixer', '768/32'): dict(Residual=32),
    ('ShuffleNetV1', None): dict(ShuffleUnit=3 * 16),
    # Only the blocks with an identity branch are residual.
    ('RepVGG', 'A0'): dict(RepVGGBlock=2 * (1 + 3 + 13)),
    ('MobileOne', 's0'): dict(MobileOneBlock=(4 + 1) * 17 + 4 * 18),
    # Inverted bottlenecks, without their squeeze-excite gates.
    ('MobileNetV2', None): dict(InvertedResidual=2 * 1 + 3 * 16),
    ('MobileNetV3', 'small'): dict(InvertedResidual=2 * 1 + 3 * 10),
    ('EfficientNet', 'b0'): dict(InvertedResidual=2 * 1 + 3 * 15),
    ('EfficientNetV2', 's'): dict(EnhancedConvModule=2, EdgeResidual=2 * (4 + 4),
                                  InvertedResidual=3 * (6 + 9 + 15)),
    # Convs and attention; Conformer's ConvBlock has too common a name to be known.
    ('RepLKNet', '31B'): dict(RepLKBlock=2 * 24, ReparamLargeKernelConv=2 * 24, ConvFFN=2 * 24),
    ('MobileViT', 'xx_small'): dict(InvertedResidual=3 * 7, FFN=2 * 9),
    ('TinyViT', '5m'): dict(MBConvBlock=3 * 2, MLP=2 * 10),
    ('LeViT', '128s'): dict(MLP=2 * (9 + 2)),
    ('Conformer', 'tiny'): dict(FFN=2 * 12),
    # Transformers: both layers of the MLP.
    ('VisionTransformer', 'deit-tiny'): dict(FFN=2 * 12),
    ('ViTEVA02', 't'): dict(SwiGLUFFN=2 * 12),
    ('SwinTransformer', 'tiny'): dict(FFN=2 * 12),
    ('SwinTransformerV2', 'tiny'): dict(FFN=2 * 12),
    ('MViT', 'tiny'): dict(MLP=2 * 10),
    ('TNT', 's'): dict(FFN=2 * 2 * 12),
    ('T2T_ViT', None): dict(FFN=2 * (2 + 14)),
    ('PoolFormer', 's12'): dict(Mlp=2 * 12),
    ('DaViT', 'tiny'): dict(FFN=2 * 2 * 6),
    # Blocks of other mixers: their MLP, not what mixes tokens.
    ('ConvNeXt', 'atto'): dict(ConvNeXtBlock=2 * 12),
    ('EdgeNeXt', 'xxsmall'): dict(ConvNeXtBlock=2 * 9, SDTAEncoder=2 * 3),
    ('HorNet', 'tiny'): dict(HorNetBlock=2 * 25),
    ('VAN', 'tiny'): dict(MixFFN=2 * 13),
    ('Vig', 'tiny'): dict(FFN=2 * 12),
    ('MlpMixer', 'b'): dict(FFN=2 * 12),
    ('RepMLPNet', 'b'): dict(ConvFFN=2 * 18),
    # Neither: plain stacks and concatenation.
    ('VGG', 11): {},
    ('DenseNet', '121'): {},
}


class _RealNumbers(TorchFunctionMode):
    """Rates of stochastic depth are read while a model is built: these numbers have to exist."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)


def build(kind, variant):
    """A backbone without memory for its weights: it is only looked at."""
    key = 'arch' if isinstance(variant, str) else 'depth'
    options = {key: variant} if variant is not None else {}
    if kind == 'RepMLPNet':
        options['img_size'] = 224
    with torch.device('meta'), _RealNumbers(), DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(dict(type=f'mmpretrain.{kind}', **options))


@pytest.mark.parametrize('kind, variant', TABLE)
def test_auto_selects_mlps_and_residual_convs_and_nothing_else(kind, variant):
    assert blocks_of(build(kind, variant)) == TABLE[kind, variant]


@pytest.mark.parametrize('kind, variant, layer, reason', [
    ('EfficientNet', 'b0', 'layers.1.0.se.conv1.conv', 'gate or attention inside'),
    ('ResNeSt', 50, 'layer1.0.conv2.fc1', 'gate or attention inside'),
    ('MlpMixer', 'b', 'layers.0.token_mix.layers.1', 'part of the token mixer'),
    ('SwinTransformerV2', 'tiny', 'stages.0.blocks.0.attn.w_msa.cpb_mlp.0', 'position network'),
])
def test_layers_of_a_block_that_are_left_say_why(kind, variant, layer, reason):
    assert select(build(kind, variant), 'auto')[layer].startswith(reason)


def test_models_without_such_blocks_say_what_auto_looks_for():
    with pytest.raises(ValueError, match=r"none of the 120 .*'auto' looks for .*Pass layers='all'"):
        select(build('DenseNet', '121'), 'auto')


@given(case=settings())
def test_mmcvs_conv_fused_equals_explicit(case):
    check_fused_equals_explicit(Conv2dAdaptivePadding, *case)


def test_efficientnet_fused_equals_explicit():
    """Sizes that are odd at some stage, so that padding is uneven."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(type='mmpretrain.EfficientNet', arch='b0')).double()
    model.eval()
    convert_(model, DenoiseRepConfig(update='posterior'))
    randomise_(model, 0.02)
    x = torch.randn(1, 3, 61, 49, dtype=torch.float64)
    with explicit_path(model):
        explicit = model(x)[-1]
    before = model(x)[-1]
    assert_close(before, explicit, rtol=1e-10, atol=1e-10)
    assert_close(fuse_(model)(x)[-1], explicit, rtol=1e-10, atol=1e-10)
    kinds = {type(m) for m in model.modules() if isinstance(m, torch.nn.Conv2d)}
    assert Conv2dAdaptivePadding in kinds, 'the types come back'
