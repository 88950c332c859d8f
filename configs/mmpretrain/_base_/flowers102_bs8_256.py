# Flowers102 in the pipeline MMPretrain uses for fine-grained birds.
_base_ = './fine_grained_bs8_256.py'

data_preprocessor = dict(num_classes=102)
__data = dict(type='Flowers102', data_root='data/Flowers102')
train_dataloader = dict(dataset=dict(split='trainval', **__data))
val_dataloader = test_dataloader = dict(dataset=dict(split='test', **__data))
