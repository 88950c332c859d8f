# SwinV2-T from published ImageNet weights at 256 pixels, fine-tuned with AdamW.
_base_ = ['mmpretrain::_base_/models/swin_transformer_v2/tiny_256.py', './finetune_schedule_adamw.py']

model = dict(
    train_cfg=None,
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/swin-v2/swinv2-tiny-w8_3rdparty_in1k-256px_20220803-e318968f.pth')))  # noqa
