# Joint: the control beside this file, and one hook.
_base_ = ['./resnet50_control_8xb16_cifar10.py', '../../_recipes_/joint.py']
