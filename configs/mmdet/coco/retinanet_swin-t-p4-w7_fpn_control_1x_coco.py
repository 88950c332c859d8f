# Control: the baseline beside this file (no weights are published: train that first), trained on
# for 12 epochs at one tenth of its learning rate, without DenoiseRep.
_base_ = './retinanet_swin-t-p4-w7_fpn_1x_coco.py'

load_from = 'work_dirs/retinanet_swin-t-p4-w7_fpn_1x_coco/epoch_12.pth'
optim_wrapper = dict(optimizer=dict(lr=0.001))
