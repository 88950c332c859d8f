# Control: the published FCN R50-D8, 80k iterations (mIoU 35.94 on ADE20K), trained on for 20k
# iterations at one tenth of its learning rate, without DenoiseRep.
_base_ = 'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py'

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/fcn/fcn_r50-d8_512x512_80k_ade20k/fcn_r50-d8_512x512_80k_ade20k_20200614_144016-f8ac5082.pth'  # noqa
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=20000, by_epoch=False)]
train_cfg = dict(max_iters=20000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='denoiserep_ext.BIoUMetric')]
test_evaluator = val_evaluator
