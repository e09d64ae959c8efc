# COVIDx, three classes (Ark+). Half of its images are RSNA's, so it does not
# belong into one training with rsna or nih14.
covidx = dict(
    data_root='data/covidx/',
    img_dir='',
    tasks=dict(
        cls=dict(
            classes=('normal', 'pneumonia', 'COVID-19'),
            label_type='multi-class',
            reader=dict(type='CsvLabelReader'),
            splits={s: f'prepared/{s}.csv' for s in ('train', 'val', 'test')},
        ),
    ),
)
