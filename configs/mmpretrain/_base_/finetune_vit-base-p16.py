# ViT-B/16 from published ImageNet weights (MAE, then fine-tuned), fine-tuned with AdamW.
_base_ = ['mmpretrain::_base_/models/vit-base-p16.py', './finetune_schedule_adamw.py']

__no_decay = dict(decay_mult=0.0)
model = dict(
    backbone=dict(
        drop_rate=0.0,
        drop_path_rate=0.1,
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/vit/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth')))  # noqa
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'.cls_token': __no_decay, '.pos_embed': __no_decay}))
