_base_ = 'mmpretrain::_base_/default_runtime.py'

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, end=30)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=10)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=17),
    checkpoint=dict(type='CheckpointHook', interval=30, max_keep_ckpts=2))
