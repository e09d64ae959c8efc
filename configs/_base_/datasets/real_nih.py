# Two images of ChestX-ray14 with the labels of its official table, for trying
# the chain on real files: training, validation and test are the same images.
# The environment variable FX_MM_REAL_DATA names the folder of the samples.
real_nih = dict(
    data_root='{{$FX_MM_REAL_DATA:data/real_cxr}}/nih/',
    img_dir='',
    tasks=dict(
        cls=dict(
            classes=(
                'Atelectasis',
                'Cardiomegaly',
                'Effusion',
                'Infiltration',
                'Mass',
                'Nodule',
                'Pneumonia',
                'Pneumothorax',
                'Consolidation',
                'Edema',
                'Emphysema',
                'Fibrosis',
                'Pleural_Thickening',
                'Hernia',
            ),
            label_type='multi-label',
            reader=dict(
                type='CsvLabelReader', findings_column='Finding Labels'
            ),
            img_ids=('00000001_000.png', '00027426_000.png'),
            splits=dict(
                train='Data_Entry_2017_v2020.csv',
                val='Data_Entry_2017_v2020.csv',
                test='Data_Entry_2017_v2020.csv',
            ),
        ),
    ),
)
