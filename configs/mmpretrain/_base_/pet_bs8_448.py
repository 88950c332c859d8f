# OxfordIIITPet in the pipeline MMPretrain uses for fine-grained birds.
_base_ = 'mmpretrain::_base_/datasets/cub_bs8_448.py'

data_preprocessor = dict(num_classes=37)
__data = dict(type='OxfordIIITPet', data_root='data/Oxford-IIIT_Pets')
train_dataloader = dict(dataset=dict(split='trainval', **__data))
val_dataloader = test_dataloader = dict(dataset=dict(split='test', **__data))
