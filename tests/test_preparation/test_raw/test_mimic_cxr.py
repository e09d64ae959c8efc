"""MIMIC-CXR-JPG: three tables."""

import gzip

import pytest
from raw_helpers import read, read_with_notes, write_files

from fx_mm.preparation.raw.mimic_cxr import CLASSES
from fx_mm.utils.errors import UserError


def mimic_files():
    # the labels' columns are in alphabetical order, unlike CheXpert's
    classes = sorted(CLASSES)
    labels = f'subject_id,study_id,{",".join(classes)}\n'
    labels += f'10000032,50414267,1.0,-1.0{",":,>12}\n'
    split = (
        'dicom_id,study_id,subject_id,split\n'
        'a-1,50414267,10000032,train\nb-2,50414267,10000032,validate\n'
        'c-3,7,10000033,test\n'
    )
    return {
        'mimic-cxr-2.0.0-chexpert.csv.gz': gzip.compress(labels.encode()),
        'mimic-cxr-2.0.0-split.csv.gz': gzip.compress(split.encode()),
    }


def test_mimic_joins_its_tables_and_skips_unlabelled(tmp_path):
    root = write_files(tmp_path, mimic_files())
    (first, second), notes = read_with_notes('mimic_cxr', root)
    assert notes == [
        'images of studies without a row in mimic-cxr-2.0.0-chexpert.csv.gz: '
        '1 skipped'
    ]
    assert first.name == 'files/p10/p10000032/s50414267/a-1.jpg'
    assert first.source == root / first.name
    assert first.patient == '10000032'
    assert (first.split, second.split) == ('train', 'val')
    assert first.labels['Atelectasis'] == 1
    assert first.labels['Cardiomegaly'] == -1
    assert first.labels['No Finding'] is None
    assert first.metadata == dict(view=None)


def test_mimic_takes_the_view_from_its_metadata(tmp_path):
    files = mimic_files()
    files['mimic-cxr-2.0.0-metadata.csv'] = (
        'dicom_id,subject_id,ViewPosition\na-1,10000032,PA\nb-2,10000032,\n'
    )
    first, second = read('mimic_cxr', write_files(tmp_path, files))
    assert (first.metadata, second.metadata) == (
        dict(view='PA'),
        dict(view=None),
    )


def test_mimic_refuses_an_unknown_split(tmp_path):
    files = mimic_files()
    files['mimic-cxr-2.0.0-split.csv'] = (
        'dicom_id,study_id,subject_id,split\na,50414267,10000032,val\n'
    )
    with pytest.raises(UserError, match='row 2: split "val" is none of train'):
        read('mimic_cxr', write_files(tmp_path, files))
