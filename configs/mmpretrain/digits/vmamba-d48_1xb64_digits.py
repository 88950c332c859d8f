# Baseline: a small VMamba of two stages.
_base_ = ['../_base_/digits.py', '../_base_/digits_schedule.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='denoiserep_ext.VMamba',
        arch=dict(dims=48, depths=(2, 2)),
        out_indices=(-1, ),
        drop_path_rate=0.1),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=96,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0)))
