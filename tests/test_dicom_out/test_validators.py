"""What other programs say of the results: dicom3tools and DCMTK.

They are Debian's packages dicom3tools and dcmtk.
"""

import shutil
import subprocess

import cv2
import numpy as np
import pydicom
import pytest
from dicom_fixtures import grey_values, predictions

from fx_mm.apis import read_xray
from fx_mm.dicom_out.delivery import to_bytes
from fx_mm.dicom_out.extra import quiet
from fx_mm.dicom_out.gsps import FoundBox, make_gsps
from fx_mm.dicom_out.model import Model
from fx_mm.dicom_out.source import read_source


def needs(program):
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f'{program} is not installed'
    )


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


GREY = grey_values()
SHARP = np.clip(GREY.astype(int) - 300, 0, 900).astype(np.uint16)
GAMMA = (4095 * np.linspace(0, 1, 2200) ** 0.6).astype(np.uint16)


def lut(first, entries, **elements):
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, 16]
    item.LUTData = entries.astype('<u2').tobytes()
    item['LUTDescriptor'].VR = 'SS' if first < 0 else 'US'
    item['LUTData'].VR = 'OW'
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


SOURCES = dict(
    plain={},
    bytes=dict(pixels=(GREY // 8).astype(np.uint8)),
    inverted=dict(PhotometricInterpretation='MONOCHROME1'),
    inverted_lut=dict(PresentationLUTShape='INVERSE'),
    window=dict(WindowCenter=900, WindowWidth=1200),
    exact=dict(
        WindowCenter=900, WindowWidth=1200, VOILUTFunction='LINEAR_EXACT'
    ),
    voi_lut=dict(VOILUTSequence=[lut(100, GAMMA)]),
    modality_lut=dict(
        ModalityLUTSequence=[lut(0, GAMMA[::-1], ModalityLUTType='US')]
    ),
    rescaled_voi_lut=dict(
        RescaleSlope=1,
        RescaleIntercept=-500,
        RescaleType='HU',
        VOILUTSequence=[lut(-500, GAMMA)],
    ),
    both_luts=dict(
        ModalityLUTSequence=[lut(0, GAMMA, ModalityLUTType='US')],
        VOILUTSequence=[lut(0, GAMMA[:1200]), lut(0, GAMMA)],
    ),
    rescaled=dict(
        RescaleSlope=2,
        RescaleIntercept=-1024,
        RescaleType='HU',
        WindowCenter=500,
        WindowWidth=2000,
    ),
    signed=dict(pixels=GREY.astype(np.int16) - 700),
    sharp=dict(pixels=SHARP),
)


def state_of(path):
    _, reading = read_xray(path, True)
    model = Model('F', 'c.pth', 64 * 'a', 'teacher', 0.3)
    box = FoundBox('a/loc', 0, 'Nodule', 0.5, np.array([1, 2, 30, 40]))
    with quiet():
        return make_gsps(read_source(path), [box], reading, model, 1)


@needs('dcmp2pgm')
@pytest.mark.parametrize('which', SOURCES)
def test_dcmtk_shows_what_the_model_saw(which, source, tmp_path):
    # dcmpschk knows no UTF-8
    path = source(**SOURCES[which], PatientName='Muller^Anne')
    state = tmp_path / 'state.dcm'
    state.write_bytes(to_bytes(state_of(path)))
    picture = tmp_path / 'picture.pgm'
    said = call('dcmp2pgm', '-p', str(state), path, str(picture))
    shown = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
    assert shown is not None, said
    seen = read_xray(path).astype(int)
    assert np.ptp(seen) > 100 and np.abs(shown - seen).max() <= 1
    assert 'Test passed' in call('dcmpschk', str(state))


@needs('dciodvfy')
@pytest.mark.parametrize(
    ('which', 'empty'), (('inverted', False), ('rescaled', True))
)
def test_dciodvfy_finds_no_error(which, empty, source, make, tmp_path):
    path = source(**SOURCES[which], PatientAge='075Y', PixelSpacing=[0.2, 0.2])
    result = predictions(path, boxes=0 if empty else 2, masks=not empty)
    for name, each in make(result).items():
        file = tmp_path / f'{name}.dcm'
        file.write_bytes(to_bytes(each))
        said = call('dciodvfy', str(file))
        assert 'Error' not in said, f'{name}: {said}'


def test_a_sigmoid_window_is_kept(source):
    """Which DCMTK 3.6.7 shows as a linear one."""
    window = dict(WindowCenter=900, WindowWidth=1200, VOILUTFunction='SIGMOID')
    (voi,) = state_of(source(**window)).SoftcopyVOILUTSequence
    for keyword, value in window.items():
        assert voi[keyword].value == value
