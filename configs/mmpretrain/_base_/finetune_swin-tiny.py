# Swin-T from published ImageNet weights, fine-tuned with AdamW.
_base_ = ['mmpretrain::_base_/models/swin_transformer/tiny_224.py', './finetune_schedule_adamw.py']

__no_decay = dict(decay_mult=0.0)
model = dict(
    train_cfg=None,
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/swin-transformer/swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth')))  # noqa
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'.absolute_pos_embed': __no_decay, '.relative_position_bias_table': __no_decay}))
