"""Releases with image labels, on tiny made-up ones."""

import gzip

import pytest
from PIL import Image
from release_helpers import by_name, read, write_release

from fx_mm.preparation.raw import label_tables
from fx_mm.utils.errors import UserError

CHEXPERT = ','.join(label_tables.CHEXPERT_CLASSES)
BLANK = ',' * 13
NIH = (
    'Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,'
    'Patient Gender,View Position,OriginalImage[Width,Height],'
    'OriginalImagePixelSpacing[x,y],'
)
VINDR = (
    'Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,'
    'Clavicle fracture,Consolidation,Edema,Emphysema,Enlarged PA,ILD,'
    'Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,'
    'Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,'
    'Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,'
    'Tuberculosis,Other disease,No finding'
)


def chexpert_files(folder='CheXpert-v1.0'):
    facts = 'Path,Sex,Age,Frontal/Lateral,AP/PA,'
    return {
        f'{folder}/train.csv': f'{facts}{CHEXPERT}\n'
        f'{folder}/train/patient00001/study1/view1_frontal.jpg,Female,68,'
        f'Frontal,AP,1.0,,0.0,-1.0{",":,>10}\n'
        f'{folder}/train/patient00002/study2/view2_lateral.jpg,Unknown,0,'
        f'Lateral,,{BLANK}\n',
        f'{folder}/valid.csv': f'{facts}{CHEXPERT}\n'
        f'{folder}/valid/patient64541/study1/view1_frontal.jpg,Male,73,'
        f'Frontal,PA,{",".join(["0.0"] * 14)}\n',
    }


@pytest.mark.parametrize('folder', ['CheXpert-v1.0', 'CheXpert-v1.0-small'])
def test_chexpert_keeps_blank_and_uncertain_labels(tmp_path, said, folder):
    root = write_release(tmp_path, chexpert_files(folder))
    first, second, valid = read('chexpert', root)
    assert second.labels == dict.fromkeys(label_tables.CHEXPERT_CLASSES)
    assert second.facts == dict(sex=None, age=0, view='Lateral')
    assert (
        first.name == f'{folder}/train/patient00001/study1/view1_frontal.jpg'
    )
    assert first.source == root / first.name
    assert first.patient == 'patient00001' and first.split == 'train'
    assert list(first.labels.values())[:5] == [1, None, 0, -1, None]
    assert first.facts == dict(sex='F', age=68, view='AP')
    assert valid.split == 'val' and set(valid.labels.values()) == {0}
    assert said == [
        'Left out: 668 test images, for want of CheXpert_test_official.csv.'
    ]


@pytest.mark.parametrize(
    ('table', 'path'),
    [
        ('CheXpert_test_official.csv', 'CheXpert-v1.0/test'),
        ('CheXpert-v1.0/test_labels.csv', 'test'),
    ],
)
def test_chexpert_has_a_test_part_under_several_names(tmp_path, table, path):
    files = chexpert_files()
    files[table] = (
        f'Path,{CHEXPERT}\n{path}/patient64741/study1/view1_frontal.jpg,'
        f'{",".join(["1.0"] * 14)}\n'
    )
    test = read('chexpert', write_release(tmp_path, files))[-1]
    assert test.split == 'test' and test.patient == 'patient64741'
    assert test.name.startswith('CheXpert-v1.0/test/patient64741/')
    assert test.facts == dict(sex=None, age=None, view=None)


def test_chexpert_small_may_have_a_test_part_of_its_own(tmp_path):
    folder = 'CheXpert-v1.0-small'
    files = chexpert_files(folder)
    name = 'test/patient64741/study1/view1_frontal.jpg'
    files[f'{folder}/{name}'] = ''
    files['groundtruth.csv'] = (
        f'Path,{CHEXPERT}\n{name},{",".join(["1.0"] * 14)}\n'
    )
    test = read('chexpert', write_release(tmp_path, files))[-1]
    assert test.source.is_file() and test.name == f'{folder}/{name}'


def test_chexpert_refuses_other_tables_by_row(tmp_path):
    files = chexpert_files()
    train = files['CheXpert-v1.0/train.csv']
    broken = train.replace('patient00002', 'p2')
    root = write_release(tmp_path, {'CheXpert-v1.0/train.csv': broken})
    with pytest.raises(UserError, match='has no valid.csv; is it the right'):
        read('chexpert', root)
    write_release(root, {'CheXpert-v1.0/valid.csv': train})
    with pytest.raises(UserError, match='train.csv, row 3: the path ".*p2/'):
        read('chexpert', root)
    files['CheXpert-v1.0/train.csv'] = train.replace('-1.0', '2')
    with pytest.raises(UserError, match='2, column "Lung Opacity": label "2"'):
        read('chexpert', write_release(root, files))


def mimic_files():
    # the labels' columns are in alphabetical order, unlike CheXpert's
    classes = sorted(label_tables.CHEXPERT_CLASSES)
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


def test_mimic_joins_its_tables_and_leaves_out_unlabelled(tmp_path, said):
    root = write_release(tmp_path, mimic_files())
    first, second = read('mimic_cxr', root)
    assert said == [
        'Left out: 1 images of studies without a row in '
        'mimic-cxr-2.0.0-chexpert.csv.gz.'
    ]
    assert first.name == 'files/p10/p10000032/s50414267/a-1.jpg'
    assert first.source == root / first.name
    assert first.patient == '10000032'
    assert (first.split, second.split) == ('train', 'val')
    assert first.labels['Atelectasis'] == 1
    assert first.labels['Cardiomegaly'] == -1
    assert first.labels['No Finding'] is None
    assert first.facts == dict(view=None)


def test_mimic_takes_the_view_from_its_metadata(tmp_path):
    files = mimic_files()
    files['mimic-cxr-2.0.0-metadata.csv'] = (
        'dicom_id,subject_id,ViewPosition\na-1,10000032,PA\nb-2,10000032,\n'
    )
    first, second = read('mimic_cxr', write_release(tmp_path, files))
    assert (first.facts, second.facts) == (dict(view='PA'), dict(view=None))


def test_mimic_refuses_an_unknown_split(tmp_path):
    files = mimic_files()
    files['mimic-cxr-2.0.0-split.csv'] = (
        'dicom_id,study_id,subject_id,split\na,50414267,10000032,val\n'
    )
    with pytest.raises(UserError, match='row 2: split "val" is none of train'):
        read('mimic_cxr', write_release(tmp_path, files))


def nih_files():
    return {
        'Data_Entry_2017_v2020.csv': f'{NIH}\n'
        '00000001_000.png,No Finding,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n'
        '00000002_000.png,Infiltration|Mass,0,2,8,F,AP,2500,2048,0.1,0.1,\n'
        '00000003_000.png,Hernia,0,3,8,F,AP,2500,2048,0.1,0.1,\n',
        'train_val_list.txt': '00000001_000.png\r\n',
        'test_list.txt': '00000002_000.png',
    }


def test_nih14_reads_labels_lists_and_facts(tmp_path, said):
    root = write_release(tmp_path, nih_files())
    found = by_name('nih14', root)
    assert said == ['Left out: 1 images that are in neither of the two lists.']
    healthy, sick = found.values()
    assert set(healthy.labels.values()) == {0} and healthy.boxes is None
    assert healthy.patient == '00000001' and healthy.split == 'train'
    assert healthy.facts == dict(sex='M', age=58, view='PA')
    assert healthy.source == root / 'images' / '00000001_000.png'
    assert {c for c, v in sick.labels.items() if v} == {'Infiltration', 'Mass'}
    assert sick.split == 'test'


def test_nih14_boxes_have_their_class_and_corners(tmp_path):
    files = nih_files()
    files['BBox_List_2017.csv'] = (
        'Image Index,Finding Label,Bbox [x,y,w,h],,,\n'
        '00000002_000.png,Infiltrate,10.5,20,30,40,,,\n'
        '00000002_000.png,Mass,1,2,3,4,,,\n'
    )
    sick = by_name('nih14', write_release(tmp_path, files))['00000002_000.png']
    assert sick.boxes == [
        ('Infiltration', 10.5, 20, 40.5, 60),
        ('Mass', 1, 2, 4, 6),
    ]


@pytest.mark.parametrize('width, height', [(1024, 1024), (512, 256)])
def test_nih14_boxes_follow_the_size_of_the_image(tmp_path, width, height):
    files = nih_files()
    files['BBox_List_2017.csv'] = (
        'Image Index,Finding Label,Bbox [x,y,w,h],,,\n'
        '00000002_000.png,Mass,100,200,300,400,,,\n'
    )
    root = write_release(tmp_path, files)
    (root / 'images').mkdir()
    size = width, height
    Image.new('L', size).save(root / 'images' / '00000002_000.png')
    sick = by_name('nih14', root)['00000002_000.png']
    across, down = width / 1024, height / 1024
    assert sick.boxes == [
        ('Mass', 100 * across, 200 * down, 400 * across, 600 * down)
    ]


def test_nih14_counts_names_that_its_table_has_not(tmp_path, said):
    files = nih_files()
    files['test_list.txt'] += '\n<html>\n'
    files['BBox_List_2017.csv'] = (
        'Image Index,Finding Label,Bbox [x,y,w,h],,,\n'
        '00000009_000.png,Mass,1,2,3,4,,,\n'
    )
    read('nih14', write_release(tmp_path, files))
    assert said[1:] == [
        'Left out: 1 names of the lists that Data_Entry_2017_v2020.csv has '
        'not.',
        'Left out: 1 images with boxes that are not in the release.',
    ]


def test_nih14_refuses_an_empty_list(tmp_path):
    root = write_release(tmp_path, nih_files() | {'test_list.txt': '\n'})
    with pytest.raises(UserError, match='test_list.txt: the file is empty'):
        read('nih14', root)


def test_nih14_refuses_an_unknown_finding(tmp_path):
    files = nih_files()
    name = 'Data_Entry_2017_v2020.csv'
    files[name] = files[name].replace('|Mass', '|Fracture')
    with pytest.raises(UserError, match='row 3: unknown finding "Fracture"'):
        read('nih14', write_release(tmp_path, files))


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
    root = write_release(
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
        read('vindr_cxr', write_release(tmp_path, files))


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
    root = write_release(
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
    assert healthy.facts == dict(sex=sex, age=age)
    assert sick.facts == dict(sex=None, age=None)
    assert sick.name == 'CHNCXR_0327_1.png' and sick.split is None


def test_shenzhen_refuses_other_images_by_name(tmp_path):
    root = write_release(tmp_path, {'CXR_png/CHNCXR_0001_2.png': ''})
    with pytest.raises(UserError, match='_2.png: the name is not of the kind'):
        read('shenzhen', root)


def test_covidx_reads_lines_with_and_without_source(tmp_path):
    root = write_release(
        tmp_path,
        {
            'train.txt': '1 a b.png normal rsna\n2 c.jpg pneumonia\n',
            'test.txt': '419639-003251 d.png COVID-19 ricord\r\n',
        },
    )
    first, second, test = read('covidx', root)
    assert first.name == 'train/a b.png' and first.patient == '1'
    assert first.labels == {'normal': 1, 'pneumonia': 0, 'COVID-19': 0}
    assert first.facts == dict(source='rsna')
    assert second.source == root / 'train' / 'c.jpg'
    assert second.facts == dict(source=None) and second.split == 'train'
    assert test.split == 'test' and test.labels['COVID-19'] == 1


@pytest.mark.parametrize('line', ['1 a.png positive bimcv', 'a.png normal'])
def test_covidx_refuses_two_classes_and_other_lines(tmp_path, line):
    root = write_release(tmp_path, {'train.txt': line, 'test.txt': ''})
    with pytest.raises(UserError, match='train.txt, row 1: ".*" is no line'):
        read('covidx', root)
