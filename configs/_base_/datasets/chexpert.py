# CheXpert (Stanford), the official tables with paths relative to data_root:
# train.csv and valid.csv of CheXpert-v1.0, and the test set's labels.
# -1 (uncertain) is read as 0.7, the middle of the papers' LSR-Ones range of
# 0.55 to 0.85; a blank stays unknown and carries no loss.
# AUC is taken over the five classes of the CheXpert competition.
__auc = ('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema')
__auc += ('Pleural Effusion',)
chexpert = dict(
    data_root='data/chexpert/',
    img_dir='',
    tasks=dict(
        cls=dict(
            classes=(
                'No Finding',
                'Enlarged Cardiomediastinum',
                'Cardiomegaly',
                'Lung Opacity',
                'Lung Lesion',
                'Edema',
                'Consolidation',
                'Pneumonia',
                'Atelectasis',
                'Pneumothorax',
                'Pleural Effusion',
                'Pleural Other',
                'Fracture',
                'Support Devices',
            ),
            metric=dict(classes=__auc),
            reader=dict(type='CsvLabelReader', uncertain=0.7),
            splits=dict(
                train='CheXpert-v1.0/train.csv',
                val='CheXpert-v1.0/valid.csv',
                test='CheXpert_test_official.csv',
            ),
        )
    ),
)
