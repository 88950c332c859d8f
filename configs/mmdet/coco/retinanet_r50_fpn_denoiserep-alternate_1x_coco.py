# Alternate: blocks of one epoch, so that either side has six of the twelve.
_base_ = ['./retinanet_r50_fpn_control_1x_coco.py', '../../_recipes_/alternate_1e.py']
