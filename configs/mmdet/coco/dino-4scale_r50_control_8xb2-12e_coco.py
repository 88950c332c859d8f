# Control: the published DINO R50 (box AP 49.0 on COCO), trained on for 12 epochs at one tenth of
# its learning rate, without DenoiseRep.
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'

load_from = 'https://download.openmmlab.com/mmdetection/v3.0/dino/dino-4scale_r50_8xb2-12e_coco/dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.00001))
