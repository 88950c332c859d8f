# Frozen: without labels, the images of one epoch (1263 batches of 16) give the moments that
# predictors are solved from.
_base_ = ['./fcn_r101-d8_control_4xb4-80k_ade20k-512x512.py', '../../_recipes_/frozen.py']

param_scheduler = []
train_cfg = dict(max_iters=1263, val_interval=1263)
default_hooks = dict(checkpoint=dict(interval=1263))
