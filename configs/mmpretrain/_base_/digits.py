# The embedded real data: python -m denoiserep_ext digits data/digits
data_preprocessor = dict(
    num_classes=10, mean=[76.0, 76.0, 76.0], std=[94.0, 94.0, 94.0], to_rgb=False)

_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(16, 16)),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='CustomDataset', data_root='data/digits', data_prefix='train', pipeline=_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=128,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='CustomDataset', data_root='data/digits', data_prefix='val', pipeline=_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], data_prefix='test'))
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_evaluator = val_evaluator
