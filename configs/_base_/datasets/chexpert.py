# CheXpert (Stanford). Uncertain labels (-1) are drawn anew in every pass from
# 0.55 to 0.85 (LSR-Ones), a blank is negative, both as in the papers. AUC is
# taken over the five classes of the CheXpert competition.
__classes = (
    'No Finding', 'Enlarged Cardiomediastinum', 'Cardiomegaly',
    'Lung Opacity', 'Lung Lesion', 'Edema', 'Consolidation', 'Pneumonia',
    'Atelectasis', 'Pneumothorax', 'Pleural Effusion', 'Pleural Other',
    'Fracture', 'Support Devices',
)  # fmt: skip
__auc = ('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema')
__auc += ('Pleural Effusion',)
chexpert = dict(
    data_root='data/chexpert/',
    img_dir='',
    tasks=dict(
        cls=dict(
            classes=__classes,
            metric=dict(classes=__auc),
            reader=dict(
                type='CsvLabelReader',
                uncertain=dict(uniform=(0.55, 0.85)),
                blank='zeros',
            ),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
