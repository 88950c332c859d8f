# Alternate: blocks of one epoch, so that either side has six of the twelve. The MLPs of the
# transformer are converted beside the backbone; nn.MultiheadAttention is left alone.
_base_ = ['./dino-4scale_r50_control_8xb2-12e_coco.py', '../../_recipes_/alternate_1e.py']

custom_hooks = [
    dict(_base_.custom_hooks[0], layers=dict(backbone='auto', encoder='auto', decoder='auto'))
]
