# Digit scenes with label maps: python -m denoiserep_ext scenes data/scenes --seed 0
_meta = dict(
    classes=('ground', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'),
    palette=[[0, 0, 0], [31, 119, 180], [255, 127, 14], [44, 160, 44], [214, 39, 40],
             [148, 103, 189], [140, 86, 75], [227, 119, 194], [127, 127, 127], [188, 189, 34],
             [23, 190, 207]])
_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_pipeline = _pipeline  # what the inference API of MMSegmentation reads

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset', data_root='data/scenes', metainfo=_meta, img_suffix='.png',
        data_prefix=dict(img_path='train', seg_map_path='labels/train'), pipeline=_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_root='data/scenes', metainfo=_meta, img_suffix='.png',
        data_prefix=dict(img_path='val', seg_map_path='labels/val'), pipeline=_pipeline))
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'], data_prefix=dict(img_path='test', seg_map_path='labels/test')))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='denoiserep_ext.BIoUMetric'),
]
test_evaluator = val_evaluator
