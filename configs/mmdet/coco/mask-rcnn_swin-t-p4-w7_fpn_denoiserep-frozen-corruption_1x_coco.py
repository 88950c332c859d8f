# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./mask-rcnn_swin-t-p4-w7_fpn_control_1x_coco.py', '../../_recipes_/frozen-corruption.py']
