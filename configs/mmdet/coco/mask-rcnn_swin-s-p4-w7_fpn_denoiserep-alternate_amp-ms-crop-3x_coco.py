# Alternate: blocks of one epoch, so that either side has six of the twelve.
_base_ = ['./mask-rcnn_swin-s-p4-w7_fpn_control_amp-ms-crop-3x_coco.py', '../../_recipes_/alternate_1e.py']
