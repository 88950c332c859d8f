# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
_base_ = ['./swin-tiny_control_16xb64_in1k.py', '../../_recipes_/frozen.py']

param_scheduler = []
train_cfg = dict(max_epochs=1)
