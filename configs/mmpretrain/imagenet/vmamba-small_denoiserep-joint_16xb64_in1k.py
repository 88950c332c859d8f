# Joint: the control beside this file, and one hook beside its average of the weights.
_base_ = './vmamba-small_control_16xb64_in1k.py'

custom_hooks = [
    dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint'),
    dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL'),
]
