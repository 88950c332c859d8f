# Label-free: the segmentor stands still, the images of one epoch (1263 batches of 16) give the moments
# the predictors are solved from.
_base_ = './vmamba-tiny-in1k-pre_upernet_denoiserep-joint_8xb2-160k_ade20k-512x512.py'

custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen')]

param_scheduler = []
train_cfg = dict(max_iters=1263, val_interval=1263)
default_hooks = dict(checkpoint=dict(interval=1263))
