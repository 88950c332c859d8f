# Joint: the control beside this file, and one hook beside its average of the weights.
_base_ = './vit-base-p16_control_32xb128-mae_in1k.py'

custom_hooks = [
    dict(type='EMAHook', momentum=0.0001),
    dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint'),
]
