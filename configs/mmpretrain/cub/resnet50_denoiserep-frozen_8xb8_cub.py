# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
_base_ = ['./resnet50_control_8xb8_cub.py', '../../_recipes_/frozen.py']

param_scheduler = []
train_cfg = dict(max_epochs=1)
