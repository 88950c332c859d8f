# Joint: the control beside this file, and one hook.
_base_ = ['./mask-rcnn_swin-s-p4-w7_fpn_control_amp-ms-crop-3x_coco.py', '../../_recipes_/joint.py']
