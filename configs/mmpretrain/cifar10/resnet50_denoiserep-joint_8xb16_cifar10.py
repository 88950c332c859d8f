# Published ResNet-50 on CIFAR-10 (95.55).
# Denoised while it trains on: one tenth of its learning rate, 20 more epochs.
_base_ = 'mmpretrain::resnet/resnet50_8xb16_cifar10.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_b16x8_cifar10_20210528-f54bfad9.pth'  # noqa
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
