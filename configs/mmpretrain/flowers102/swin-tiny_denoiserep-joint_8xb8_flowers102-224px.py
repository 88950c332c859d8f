# From the baseline beside this file: train that first.
# Denoised while it trains on: one tenth of its learning rate, 20 more epochs.
_base_ = './swin-tiny_8xb8_flowers102-224px.py'

load_from = 'work_dirs/swin-tiny_8xb8_flowers102-224px/epoch_100.pth'  # noqa
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=1e-05))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
