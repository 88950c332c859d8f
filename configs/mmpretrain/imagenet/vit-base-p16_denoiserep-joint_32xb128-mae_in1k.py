# Published ViT-B/16 on ImageNet (82.37).
# Denoised while it trains on: one tenth of its learning rate, 20 more epochs.
_base_ = 'mmpretrain::vision_transformer/vit-base-p16_32xb128-mae_in1k.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/vit/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth'  # noqa
custom_hooks = [
    dict(type='EMAHook', momentum=0.0001),
    dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint'),
]

optim_wrapper = dict(optimizer=dict(lr=0.00016))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
