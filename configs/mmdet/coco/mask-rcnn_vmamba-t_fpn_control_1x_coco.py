# Control: the published Mask R-CNN VMamba-T[s1l8] (box AP 47.3, mask AP 42.7 on COCO), trained on
# for 12 epochs at one tenth of its learning rate, without DenoiseRep.
_base_ = './mask-rcnn_vmamba-t_fpn_1x_coco.py'

load_from = 'https://github.com/MzeroMiko/VMamba/releases/download/%23v2det/mask_rcnn_vssm_fpn_coco_tiny_s_epoch_12.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.00001))
