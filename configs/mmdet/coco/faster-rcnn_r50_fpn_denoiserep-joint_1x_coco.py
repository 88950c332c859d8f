# Joint: the control beside this file, and one hook.
_base_ = ['./faster-rcnn_r50_fpn_control_1x_coco.py', '../../_recipes_/joint.py']
