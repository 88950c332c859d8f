# Baseline: no OxfordIIITPet checkpoint is published, so this config trains the one the DenoiseRep configs
# start from, itself from published ImageNet weights.
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    '../_base_/pet_bs8_448.py',
    'mmpretrain::_base_/schedules/cub_bs64.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',  # noqa
            prefix='backbone')),
    head=dict(num_classes=37))
