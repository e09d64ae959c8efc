# MIMIC-CXR-JPG 2.0.0. Prepared: the official tables of labels, metadata and
# split joined to image_path and 14 labels a row. Classes in the table's own
# (alphabetical) order. -1 (uncertain) is 1, as in the papers; a blank stays
# unknown and carries no loss.
# AUC is taken over the five classes of the CheXpert competition.
__auc = ('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema')
__auc += ('Pleural Effusion',)
mimic_cxr = dict(
    data_root='data/mimic_cxr/',
    img_dir='',
    tasks=dict(
        cls=dict(
            classes=(
                'Atelectasis',
                'Cardiomegaly',
                'Consolidation',
                'Edema',
                'Enlarged Cardiomediastinum',
                'Fracture',
                'Lung Lesion',
                'Lung Opacity',
                'No Finding',
                'Pleural Effusion',
                'Pleural Other',
                'Pneumonia',
                'Pneumothorax',
                'Support Devices',
            ),
            metric=dict(classes=__auc),
            reader=dict(type='CsvLabelReader', uncertain=1.0),
            splits=dict(
                train='mimic-cxr-2.0.0-train.csv',
                val='mimic-cxr-2.0.0-validate.csv',
                test='mimic-cxr-2.0.0-test.csv',
            ),
        )
    ),
)
