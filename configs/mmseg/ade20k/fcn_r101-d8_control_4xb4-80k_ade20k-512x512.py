# Control: the published FCN R101-D8, 80k iterations (mIoU 39.61 on ADE20K), trained on for 20k
# iterations at one tenth of its learning rate, without DenoiseRep.
_base_ = './fcn_r50-d8_control_4xb4-80k_ade20k-512x512.py'

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/fcn/fcn_r101-d8_512x512_80k_ade20k/fcn_r101-d8_512x512_80k_ade20k_20200615_014143-bc1809f7.pth'  # noqa
model = dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101))
