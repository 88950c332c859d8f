# Control: the published RetinaNet R50-FPN (box AP 36.5 on COCO), trained on for 12 epochs at one
# tenth of its learning rate, without DenoiseRep.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'

load_from = 'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.001))
