# Frozen: without labels, one epoch of images gives the moments that predictors are solved from. The
# MLPs of the transformer are converted beside the backbone; nn.MultiheadAttention is left alone.
_base_ = ['./dino-4scale_r50_control_8xb2-12e_coco.py', '../../_recipes_/frozen.py']

custom_hooks = [
    dict(_base_.custom_hooks[0], layers=dict(backbone='auto', encoder='auto', decoder='auto'))
]
param_scheduler = []
train_cfg = dict(max_epochs=1)
