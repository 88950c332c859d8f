# Published Swin-T on ImageNet (81.18).
# Denoised while it trains on: one tenth of its learning rate, 20 more epochs.
_base_ = 'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/swin-transformer/swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth'  # noqa
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=0.0001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
