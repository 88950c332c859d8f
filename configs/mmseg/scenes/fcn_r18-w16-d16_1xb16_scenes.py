# Baseline: a narrow FCN from scratch, stock MMSegmentation from end to end. Seven pixels in a hundred
# belong to a digit, so ground weighs a tenth in the loss.
_base_ = [
    'mmseg::_base_/models/fcn_r50-d8.py', '../_base_/scenes.py', '../_base_/scenes_schedule.py'
]

_norm = dict(type='BN', requires_grad=True)
_weights = [0.1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        depth=18,
        base_channels=16,
        stem_channels=16,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        norm_cfg=_norm),
    decode_head=dict(
        in_channels=128,
        channels=64,
        num_convs=1,
        num_classes=11,
        norm_cfg=_norm,
        loss_decode=dict(class_weight=_weights)),
    auxiliary_head=dict(
        in_channels=64,
        channels=32,
        num_classes=11,
        norm_cfg=_norm,
        loss_decode=dict(class_weight=_weights)))
