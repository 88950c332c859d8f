# Published Swin-L on CUB-200 (91.87).
# Denoised while it trains on: one tenth of its learning rate, 20 more epochs.
_base_ = 'mmpretrain::swin_transformer/swin-large_8xb8_cub-384px.py'

load_from = 'https://download.openmmlab.com/mmclassification/v0/swin-transformer/swin-large_8xb8_cub_384px_20220307-1bbaee6a.pth'  # noqa
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]

optim_wrapper = dict(optimizer=dict(lr=5e-07))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=20)]
train_cfg = dict(max_epochs=20)
