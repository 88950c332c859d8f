# MMPretrain's pipeline for fine-grained birds at 256 pixels.
_base_ = './fine_grained_bs8_224.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=292),
    dict(type='RandomCrop', crop_size=256),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=292),
    dict(type='CenterCrop', crop_size=256),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
