# Control: the published Faster R-CNN R50-FPN (box AP 37.4 on COCO), trained on for 12 epochs at one
# tenth of its learning rate, without DenoiseRep.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

load_from = 'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.002))
