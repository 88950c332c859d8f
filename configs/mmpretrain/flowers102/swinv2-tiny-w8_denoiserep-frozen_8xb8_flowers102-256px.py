# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
_base_ = ['./swinv2-tiny-w8_control_8xb8_flowers102-256px.py', '../../_recipes_/frozen.py']

param_scheduler = []
train_cfg = dict(max_epochs=1)
