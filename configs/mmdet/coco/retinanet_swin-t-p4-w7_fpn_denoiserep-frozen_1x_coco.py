# Frozen: without labels, one epoch of images gives the moments that predictors are solved from.
_base_ = ['./retinanet_swin-t-p4-w7_fpn_control_1x_coco.py', '../../_recipes_/frozen.py']

param_scheduler = []
train_cfg = dict(max_epochs=1)
