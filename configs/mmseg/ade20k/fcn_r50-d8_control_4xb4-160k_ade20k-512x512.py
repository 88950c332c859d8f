# Control: the published FCN R50-D8, 160k iterations (mIoU 36.10 on ADE20K), trained on for 40k
# iterations at one tenth of its learning rate, without DenoiseRep.
_base_ = 'mmseg::fcn/fcn_r50-d8_4xb4-160k_ade20k-512x512.py'

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/fcn/fcn_r50-d8_512x512_160k_ade20k/fcn_r50-d8_512x512_160k_ade20k_20200615_100713-4edbc3b4.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=40000, by_epoch=False)]
train_cfg = dict(max_iters=40000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='denoiserep_ext.BIoUMetric')]
test_evaluator = val_evaluator
