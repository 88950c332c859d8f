# ResNet-50 from published ImageNet weights, fine-tuned as MMPretrain does for CUB-200.
_base_ = ['mmpretrain::_base_/models/resnet50.py', './finetune_schedule_sgd.py']

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth')))  # noqa
