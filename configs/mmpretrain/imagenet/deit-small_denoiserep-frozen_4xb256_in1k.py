# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
_base_ = ['./deit-small_control_4xb256_in1k.py', '../../_recipes_/frozen.py']

param_scheduler = []
train_cfg = dict(max_epochs=1)
