# Published ResNet-50 on CUB-200 (88.45).
# Denoised while it trains on: one tenth of its learning rate, 20 more epochs.
_base_ = 'mmpretrain::resnet/resnet50_8xb8_cub.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb8_cub_20220307-57840e60.pth'  # noqa
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
