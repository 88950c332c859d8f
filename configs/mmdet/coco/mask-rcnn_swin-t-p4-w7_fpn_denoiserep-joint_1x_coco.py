# Joint: the control beside this file, and one hook.
_base_ = ['./mask-rcnn_swin-t-p4-w7_fpn_control_1x_coco.py', '../../_recipes_/joint.py']
