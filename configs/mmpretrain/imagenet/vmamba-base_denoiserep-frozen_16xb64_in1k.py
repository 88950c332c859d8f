# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
# There is nothing to average.
_base_ = './vmamba-base_control_16xb64_in1k.py'

custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen')]
param_scheduler = []
train_cfg = dict(max_epochs=1)
