# VinDr-CXR, boxes of the 14 findings of its Kaggle challenge, those of the
# three radiologists fused.
__classes = (
    'Aortic enlargement', 'Atelectasis', 'Calcification', 'Cardiomegaly',
    'Consolidation', 'ILD', 'Infiltration', 'Lung Opacity', 'Nodule/Mass',
    'Other lesion', 'Pleural effusion', 'Pleural thickening', 'Pneumothorax',
    'Pulmonary fibrosis',
)  # fmt: skip
vindr_findings = dict(
    data_root='data/vindr_cxr/',
    img_dir='prepared/images/',
    tasks=dict(
        loc=dict(
            classes=__classes,
            flip_prob=0.5,
            reader=dict(type='CocoReader'),
            splits={
                s: f'prepared/findings_{s}.json'
                for s in ('train', 'val', 'test')
            },
        ),
    ),
)
