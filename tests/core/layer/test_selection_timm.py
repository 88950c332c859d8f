"""What ``auto`` selects in timm's models, counted by hand from their published structure."""
import pytest
import torch

from denoiserep_ext.core.layer.selection import select
from tests.selected import blocks_of

timm = pytest.importorskip('timm')

# Layers a block times blocks, plus the convs of projection shortcuts.
TABLE = {
    # ResNets and relatives: the convs of residual blocks, gates and attention apart.
    'resnet18': dict(BasicBlock=2 * 8 + 3),
    'resnet50': dict(Bottleneck=3 * 16 + 4),
    'resnetv2_50': dict(PreActBottleneck=3 * 16, DownsampleConv=4),
    'seresnet50': dict(Bottleneck=3 * 16 + 4),
    'legacy_seresnet18': dict(SEResNetBlock=2 * 8 + 3),
    'resnest14d': dict(ResNestBottleneck=2 * 4 + 4, SplitAttn=1 * 4),
    'res2net50_14w_8s': dict(Bottle2neck=(2 + 7) * 16 + 4),
    'skresnet18': dict(SelectiveKernelBasic=1 * 8 + 3, SelectiveKernel=2 * 8),
    'regnety_002': dict(Bottleneck=3 * 13 + 4),
    'gcresnet33ts': dict(BottleneckBlock=3 * 10 + 4),
    'botnet26t_256': dict(BottleneckBlock=3 * 5 + 3, SelfAttnBlock=2 * 3 + 1),
    'hrnet_w18_small': dict(Bottleneck=3 * 5 + 5, BasicBlock=2 * (4 + 6 + 8)),
    'cspdarknet53': dict(DarkBlock=2 * 23),
    'dla34': dict(DlaBasic=2 * 12),
    'xception41': dict(SeparableConv2d=2 * 3 * 13, XceptionModule=4),
    'convmixer_768_32': dict(Residual=32),
    # Only the blocks with an identity branch are residual.
    'repvgg_a0': dict(RepVggBlock=2 * (1 + 3 + 13)),
    'mobileone_s0': dict(MobileOneBlock=(4 + 1) * 17 + 4 * 18),
    # Inverted bottlenecks, without their squeeze-excite gates.
    'mobilenetv2_050': dict(DepthwiseSeparableConv=2 * 1, InvertedResidual=3 * 16),
    'mobilenetv4_conv_small': dict(UniversalInvertedResidual=2 * 12 + 4 + 11),
    'efficientnet_b0': dict(DepthwiseSeparableConv=2 * 1, InvertedResidual=3 * 15),
    'tf_efficientnet_b0': dict(DepthwiseSeparableConv=2 * 1, InvertedResidual=3 * 15),
    'ghostnet_050': dict(GhostModule=2 * 2 * 16, GhostBottleneck=4 + 2 * 5),
    # Convs and attention.
    'maxvit_pico_rw_256': dict(MbConvBlock=3 * 11, Downsample2d=3, Mlp=2 * 2 * 11),
    'coatnet_pico_rw_224': dict(MbConvBlock=3 * 5, Downsample2d=1, ConvMlp=2 * 7),
    'mobilevit_xxs': dict(BottleneckBlock=3 * 7, Mlp=2 * 9),
    'efficientvit_b0': dict(DSConv=2 * 1, MBConv=3 * 10),
    'efficientvit_m0': dict(ResidualDrop=2 * 6 + 2 * 2, ConvMlp=2 * (2 * 6 + 2 * 2)),
    'gcvit_xxtiny': dict(MbConvBlock=2 * (1 + 7 + 3), Mlp=2 * 12),
    'vitamin_small_224': dict(MbConvLNBlock=3 * 6, Downsample2d=1, GeGluMlp=3 * 14),
    'levit_128s': dict(LevitMlp=2 * (9 + 2)),
    # Transformers: both layers of the MLP.
    'vit_tiny_patch16_224': dict(Mlp=2 * 12),
    'vit_relpos_small_patch16_224': dict(Mlp=2 * 12),
    'eva02_tiny_patch14_224': dict(GluMlp=2 * 12),
    'swin_tiny_patch4_window7_224': dict(Mlp=2 * 12),
    'swinv2_tiny_window8_256': dict(Mlp=2 * 12),
    'swinv2_cr_tiny_224': dict(Mlp=2 * 12),
    'pvt_v2_b0': dict(MlpWithDepthwiseConv=2 * 8),
    'xcit_nano_12_p16_224': dict(Mlp=2 * (12 + 2)),
    'caformer_s18': dict(Mlp=2 * 18),
    'poolformer_s12': dict(Mlp=2 * 12),
    # Blocks of other mixers: their MLP, not what mixes tokens.
    'convnext_atto': dict(Mlp=2 * 12),
    'mambaout_femto': dict(GatedConvBlock=2 * 18),
    'mixer_s32_224': dict(Mlp=2 * 8),
    'gmixer_12_224': dict(GluMlp=2 * 12),
    'gmlp_s16_224': dict(GatedMlp=2 * 30),
    'resmlp_12_224': dict(Mlp=2 * 12),
    'sequencer2d_s': dict(Mlp=2 * 18),
    # Neither: plain stacks, concatenation, and standardised weights, which cannot hold a fold.
    'vgg11': {},
    'densenet121': {},
    'nf_resnet26': {},
}


def build(name, **options):
    with torch.device('meta'):
        return timm.create_model(name, **options)


@pytest.mark.parametrize('name', TABLE)
def test_auto_selects_mlps_and_residual_convs_and_nothing_else(name):
    assert blocks_of(build(name)) == TABLE[name]


@pytest.mark.parametrize('classes', [10, 512])
def test_a_head_shaped_like_an_mlp_stays_a_head(classes):
    model = build('caformer_s18', num_classes=classes)
    assert blocks_of(model) == TABLE['caformer_s18']
    assert select(model, 'auto')['head.fc.fc1'] == 'classifier head'


@pytest.mark.parametrize('name, layer, reason', [
    ('maxvit_pico_rw_256', 'stages.0.blocks.0.conv.se.fc1', 'gate or attention inside'),
    ('resnest14d', 'layer1.0.conv2.fc1', 'gate or attention inside'),
    ('mixer_s32_224', 'blocks.0.mlp_tokens.fc1', 'part of the token mixer'),
    ('gmlp_s16_224', 'blocks.0.mlp_channels.gate.proj', 'part of the token mixer'),
    ('swinv2_cr_tiny_224', 'stages.0.blocks.0.attn.meta_mlp.fc1', 'position network'),
    ('swinv2_tiny_window8_256', 'layers.0.blocks.0.attn.cpb_mlp.0', 'position network'),
])
def test_layers_of_a_block_that_are_left_say_why(name, layer, reason):
    assert select(build(name), 'auto')[layer].startswith(reason)


def test_position_networks_are_left_whatever_their_width():
    model = build('vit_relpos_small_patch16_rpn_224', num_heads=2, embed_dim=64, depth=1)
    left = {name: why for name, why in select(model, 'auto').items() if '.rel_pos.' in name}
    assert left and all(why.startswith('position network') for why in left.values())


def test_standardised_weights_say_why_they_cannot_be_converted():
    with pytest.raises(ValueError, match='ScaledStdConv2d has a forward of its own'):
        select(build('nf_resnet26'), 'auto')
