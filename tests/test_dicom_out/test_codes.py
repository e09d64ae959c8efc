"""The table of coded terms, against that of pydicom, and a config's."""

import pytest
from mmengine.config import Config
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from fx_mm.dicom_out.codes import ANATOMY, FINDING, SIDES, find_code
from fx_mm.dicom_out.measured import LUNG, ZONES
from fx_mm.dicom_out.sr import HEIGHT, WIDTH
from fx_mm.utils.errors import UserError

# What the standard's context groups list, as pydicom has them.
NAMED = dict(
    Lung=codes.SCT.Lung,
    Heart=codes.SCT.Heart,
    Clavicle=codes.SCT.Clavicle,
    Rib=codes.SCT.Rib,
    Nodule=codes.SCT.Nodule,
    Mass=codes.SCT.Mass,
    Pneumothorax=codes.SCT.Pneumothorax,
    Effusion=codes.SCT.PleuralEffusion,
    Edema=codes.SCT.PulmonaryEdema,
    Calcification=codes.DCM.AbnormalCalcifications,
    Infiltration=codes.DCM.Infiltrate,
)
NAMED['Lung Opacity'] = codes.DCM.Opacity


@pytest.mark.parametrize('name', NAMED)
def test_codes_are_those_of_the_standard(name):
    term = find_code(name).term
    assert term == NAMED[name] and term.meaning == NAMED[name].meaning


def test_categories_and_sides_are_those_of_the_standard():
    assert codes.SCT.AnatomicalStructure == ANATOMY
    assert codes.SCT.MorphologicallyAbnormalStructure == FINDING
    assert dict(left=codes.SCT.Left, right=codes.SCT.Right) == SIDES


def test_zones_and_sizes_are_those_of_the_standard():
    assert codes.SCT.Lung == LUNG
    assert find_code('Thorax').term == codes.SCT.ThoracicStructure
    assert (
        dict(
            upper=codes.SCT.UpperZoneOfLung,
            middle=codes.SCT.MiddleZoneOfLung,
            lower=codes.SCT.LowerZoneOfLung,
        )
        == ZONES
    )
    assert (codes.SCT.Width, codes.DCM.Height) == (WIDTH, HEIGHT)


def test_classes_of_the_shipped_datasets():
    """Organs and ribs are anatomy with a side; spellings mean the same."""
    left, right = find_code('L10'), find_code('R10')
    assert left.term == right.term and left.category == ANATOMY
    assert (left.side, right.side) == (SIDES['left'], SIDES['right'])
    ribs = {find_code(f'R{n}').term.value for n in range(1, 11)}
    assert len(ribs) == 10 and all(value.isdigit() for value in ribs)
    assert find_code('Left lung').term != find_code('Right lung').term
    assert find_code('Pleural effusion') == find_code('Effusion')
    assert find_code('lung_opacity') == find_code('Lung Opacity')
    assert find_code('Nodule').category == FINDING
    assert not find_code('R11').known and not find_code('').known


def test_a_class_without_a_code_gets_a_local_one():
    code = find_code('A\\B' + 70 * 'x')
    assert not code.known and code.term.scheme_designator == '99FX_MM'
    assert len(code.term.value) == 12 and len(code.term.meaning) == 64
    assert '\\' not in code.term.meaning
    assert code.term.value != find_code('other').term.value


def test_codes_of_a_config():
    own = {
        'Hernia': dict(value='16838000', scheme='SCT', meaning='Hernia x'),
        'Lung': dict(
            value='1', scheme='99ME', meaning='x', category='anatomy',
            side='left',
        ),
    }  # fmt: skip
    assert find_code('Hernia', own).term == Code('16838000', 'SCT', 'Hernia x')
    assert find_code('Hernia', own).category == FINDING
    assert find_code('Lung', own).side == SIDES['left']
    assert find_code('Heart', own).term.value == '80891009'


@pytest.mark.parametrize(
    ('entry', 'said'),
    (
        ('16838000', 'write dict'),
        (dict(value='1', scheme='SCT'), r'\.meaning is None'),
        (dict(value=17 * '1', scheme='SCT', meaning='x'), '1 to 16'),
        (dict(value='a\\b', scheme='SCT', meaning='x'), 'without backslash'),
        (dict(value='1', scheme='S', meaning='x', side='up'), 'left or right'),
        (dict(code='1'), 'has no "code"'),
    ),
)
def test_codes_of_a_config_that_cannot_be_written(entry, said):
    with pytest.raises(UserError, match=said):
        find_code('A', Config(dict(own={'A': entry})).own)
