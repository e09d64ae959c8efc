"""Shenzhen: names and clinical readings."""

import pytest
from raw_helpers import read, write_files

from fx_mm.utils.errors import UserError


@pytest.mark.parametrize(
    ('text', 'sex', 'age'),
    [
        ('male 45yrs\nnormal', 'M', 45),
        ('female , 29yrs \t\nbilateral PTB', 'F', 29),
        ('femal 32yrs\nnormal', 'F', 32),
        ('female24yrs\nnormal', 'F', 24),
        ('male 16month\nnormal', 'M', 1.33),
        ('', None, None),
    ],
)
def test_shenzhen_reads_the_name_and_the_reading(tmp_path, text, sex, age):
    root = write_files(
        tmp_path,
        {
            'CXR_png/CHNCXR_0001_0.png': '',
            'CXR_png/CHNCXR_0327_1.png': '',
            'CXR_png/Thumbs.db': '',
            'ClinicalReadings/CHNCXR_0001_0.txt': text,
        },
    )
    healthy, sick = read('shenzhen', root)
    assert healthy.labels == dict(TB=0) and sick.labels == dict(TB=1)
    assert healthy.metadata == dict(sex=sex, age=age)
    assert sick.metadata == dict(sex=None, age=None)
    assert sick.name == 'CHNCXR_0327_1.png' and sick.split is None


def test_shenzhen_refuses_other_images_by_name(tmp_path):
    root = write_files(tmp_path, {'CXR_png/CHNCXR_0001_2.png': ''})
    with pytest.raises(UserError, match='_2.png: the name is not of the form'):
        read('shenzhen', root)
