# Flowers102 in the pipeline MMPretrain uses for fine-grained birds.
_base_ = 'mmpretrain::_base_/datasets/cub_bs8_448.py'

data_preprocessor = dict(num_classes=102)
train_dataloader = dict(
    dataset=dict(type='Flowers102', data_root='data/Flowers102', split='trainval'))
val_dataloader = dict(
    dataset=dict(type='Flowers102', data_root='data/Flowers102', split='test'))
test_dataloader = dict(
    dataset=dict(type='Flowers102', data_root='data/Flowers102', split='test'))
