# Joint: the control beside this file, and one hook.
_base_ = ['./vit-d512-l6-p4_control_1xb128_cifar10.py', '../../_recipes_/joint.py']
