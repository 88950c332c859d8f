# Baseline: a narrow SegFormer from scratch, stock MMSegmentation from end to end.
_base_ = [
    'mmseg::_base_/models/segformer_mit-b0.py', '../_base_/scenes.py',
    '../_base_/scenes_schedule.py'
]

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(embed_dims=16, drop_path_rate=0.0),
    decode_head=dict(
        in_channels=[16, 32, 80, 128],
        channels=64,
        num_classes=11,
        norm_cfg=dict(type='BN', requires_grad=True)))
