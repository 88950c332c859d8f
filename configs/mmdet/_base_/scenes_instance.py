# Digit scenes, boxes and masks in COCO format: python -m denoiserep_ext scenes data/scenes --seed 0
_meta = dict(classes=('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'))
_load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
]
_resize = dict(type='Resize', scale=(128, 128), keep_ratio=True)
_test_pipeline = [
    *_load,
    _resize,
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='CocoDataset',
        data_root='data/scenes/',
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        metainfo=_meta,
        filter_cfg=dict(filter_empty_gt=True, min_size=8),
        pipeline=[*_load, _resize, dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root='data/scenes/',
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        metainfo=_meta,
        test_mode=True,
        pipeline=_test_pipeline))
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        ann_file='annotations/instances_test.json',
        data_prefix=dict(img='test/')))
val_evaluator = dict(
    type='CocoMetric', ann_file='data/scenes/annotations/instances_val.json',
    metric=['bbox', 'segm'])
test_evaluator = dict(val_evaluator, ann_file='data/scenes/annotations/instances_test.json')
