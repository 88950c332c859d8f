# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
_base_ = ['./swinv2-small-w8_control_16xb64_in1k-256px.py', '../../_recipes_/frozen.py']

param_scheduler = []
train_cfg = dict(max_epochs=1)
