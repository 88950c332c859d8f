# Control: the published Mask R-CNN R50-FPN (box AP 38.2, mask AP 34.7 on COCO), trained on for 12
# epochs at one tenth of its learning rate, without DenoiseRep.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

load_from = 'https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_1x_coco/mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.002))
