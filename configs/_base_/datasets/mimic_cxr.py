# MIMIC-CXR-JPG 2.0.0. Classes in the order of its tables, which is
# alphabetical. An uncertain label (-1) is positive, a blank negative, both as
# in the papers. AUC is taken over the five classes of the CheXpert
# competition.
__classes = (
    'Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema',
    'Enlarged Cardiomediastinum', 'Fracture', 'Lung Lesion', 'Lung Opacity',
    'No Finding', 'Pleural Effusion', 'Pleural Other', 'Pneumonia',
    'Pneumothorax', 'Support Devices',
)  # fmt: skip
__auc = ('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema')
__auc += ('Pleural Effusion',)
mimic_cxr = dict(
    data_root='data/mimic_cxr/',
    img_dir='',
    tasks=dict(
        cls=dict(
            classes=__classes,
            metric=dict(classes=__auc),
            reader=dict(
                type='CsvLabelReader', uncertain='ones', blank='zeros'
            ),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
