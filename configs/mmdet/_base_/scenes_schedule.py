_base_ = 'mmdet::_base_/default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10.0))
param_scheduler = dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, end=16)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=16, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(type='CheckpointHook', interval=16, max_keep_ckpts=2))
randomness = dict(seed=0)
