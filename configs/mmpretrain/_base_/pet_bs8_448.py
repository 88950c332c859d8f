# OxfordIIITPet in the pipeline MMPretrain uses for fine-grained birds.
_base_ = 'mmpretrain::_base_/datasets/cub_bs8_448.py'

data_preprocessor = dict(num_classes=37)
train_dataloader = dict(
    dataset=dict(type='OxfordIIITPet', data_root='data/Oxford-IIIT_Pets', split='trainval'))
val_dataloader = dict(
    dataset=dict(type='OxfordIIITPet', data_root='data/Oxford-IIIT_Pets', split='test'))
test_dataloader = dict(
    dataset=dict(type='OxfordIIITPet', data_root='data/Oxford-IIIT_Pets', split='test'))
