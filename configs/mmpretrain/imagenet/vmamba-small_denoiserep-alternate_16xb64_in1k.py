# Alternate: blocks of ten epochs, predictors and backbone in turn, 120 epochs in all.
_base_ = './vmamba-small_control_16xb64_in1k.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook', recipe='alternate', solver='sgd', period=10,
        loss_weight=0.01),
    dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL'),
]
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=120)]
train_cfg = dict(max_epochs=120)
