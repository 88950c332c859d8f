# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
_base_ = './vit-base-p16_control_32xb128-mae_in1k.py'

custom_hooks = [
    dict(type='EMAHook', momentum=0.0001),
    dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen'),
]
param_scheduler = []
train_cfg = dict(max_epochs=1)
