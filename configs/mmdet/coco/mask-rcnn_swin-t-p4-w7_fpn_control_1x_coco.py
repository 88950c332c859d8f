# Control: the published Mask R-CNN Swin-T (box AP 42.7, mask AP 39.3 on COCO), trained on for 12
# epochs at one tenth of its learning rate, without DenoiseRep.
_base_ = 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py'

load_from = 'https://download.openmmlab.com/mmdetection/v2.0/swin/mask_rcnn_swin-t-p4-w7_fpn_1x_coco/mask_rcnn_swin-t-p4-w7_fpn_1x_coco_20210902_120937-9d6b7cfa.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.00001))
