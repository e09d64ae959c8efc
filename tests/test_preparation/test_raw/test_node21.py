"""NODE21: a row per nodule."""

import pytest
from raw_helpers import read, write_files


@pytest.mark.parametrize('folder', ['cxr_images/proccessed_data', '.', 'a/b'])
def test_node21_reads_rows_of_both_kinds(tmp_path, folder):
    table = (
        ',height,img_name,label,width,x,y\n'
        '0,29,n0001.mha,1,31,500,400\n1,20,n0001.mha,1,22,100,100\n'
        '2,0,c0001.mha,0,0,0,0\n'
    )
    root = write_files(tmp_path, {f'{folder}/metadata.csv': table})
    nodules, clear = read('node21', root)
    assert clear.boxes == [] and clear.labels == dict(Nodule=0)
    assert nodules.boxes == [
        ('Nodule', 500, 400, 531, 429),
        ('Nodule', 100, 100, 122, 120),
    ]
    assert nodules.labels == dict(Nodule=1) and nodules.name == 'n0001.png'
    assert nodules.source == root / folder / 'images' / 'n0001.mha'


def test_node21_takes_the_processed_images(tmp_path):
    head = ',height,img_name,label,width,x,y\n'
    root = write_files(
        tmp_path,
        {
            'x/original_data/metadata.csv': f'{head}0,0,a.mha,0,0,0,0\n',
            'x/proccessed_data/metadata.csv': f'{head}0,0,b.mha,0,0,0,0\n',
        },
    )
    assert [e.name for e in read('node21', root)] == ['b.png']
