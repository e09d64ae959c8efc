"""VinDr-CXR: labels of three readers."""

import pytest
from raw_helpers import by_name, read, write_files

from fx_mm.utils.errors import UserError

VINDR = (
    'Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,'
    'Clavicle fracture,Consolidation,Edema,Emphysema,Enlarged PA,ILD,'
    'Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,'
    'Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,'
    'Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,'
    'Tuberculosis,Other disease,No finding'
)


def vindr_row(image, reader, *positive):
    cells = [int(c in positive) for c in VINDR.split(',')]
    return ','.join(map(str, [image, *reader, *cells]))


def test_vindr_cxr_takes_what_any_reader_says(tmp_path):
    train = [
        f'image_id,rad_id,{VINDR}',
        vindr_row('a', ['R1'], 'No finding'),
        vindr_row('b', ['R1'], 'No finding'),
        vindr_row('b', ['R2'], 'Pleural effusion', 'Other disease'),
        vindr_row('b', ['R3'], 'Tuberculosis'),
    ]
    test = [f'image_id,{VINDR}', vindr_row('c', [], 'Pneumonia')]
    root = write_files(
        tmp_path,
        {
            'annotations/image_labels_train.csv': '\r\n'.join(train),
            'annotations/image_labels_test.csv': '\r\n'.join(test),
            'train/a.dicom': '',
            'test/c.dcm': '',
        },
    )
    found = by_name('vindr_cxr', root)
    positive = {
        name: {c for c, value in entry.labels.items() if value}
        for name, entry in found.items()
    }
    assert positive == {
        'train/a.png': {'No finding'},
        'train/b.png': {
            'PE',
            'Pleural effusion',
            'Other diseases',
            'Tuberculosis',
            'No finding',
        },
        'test/c.png': {'Pneumonia'},
    }
    assert [e.split for e in found.values()] == ['train', 'train', 'test']
    assert [e.source.relative_to(root).as_posix() for e in found.values()] == [
        'train/a.dicom',
        'train/b.dicom',
        'test/c.dcm',
    ]


def test_vindr_cxr_refuses_an_unknown_label(tmp_path):
    files = {'image_labels_train.csv': 'image_id,rad_id,Edema,Gout\n'}
    with pytest.raises(UserError, match='train.csv: unknown label "Gout"'):
        read('vindr_cxr', write_files(tmp_path, files))
