# Alternate: blocks of ten epochs, predictors and backbone in turn, 120 epochs in all.
_base_ = './vit-base-p16_control_32xb128-mae_in1k.py'

custom_hooks = [
    dict(type='EMAHook', momentum=0.0001),
    dict(
        type='denoiserep_ext.DenoiseRepHook', recipe='alternate', solver='sgd', period=10,
        loss_weight=0.01),
]
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=120)]
train_cfg = dict(max_epochs=120)
