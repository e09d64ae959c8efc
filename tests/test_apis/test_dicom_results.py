"""``predict.py --dicom-out`` on phantoms: to a folder, and to an archive."""

import json

import cv2
import numpy as np
import pydicom
import pytest
import torch
from dicom_fixtures import PATIENT
from dicomweb_client.web import DICOMwebClient
from small_run import CONFIG, small_cfg

from fx_mm.apis import FoundationXInferencer, expand_config
from fx_mm.dicom_out import DicomWeb
from fx_mm.models import build_model
from fx_mm.phantom import ensure_phantom

CODES = dict(
    Heart=dict(
        value='1', scheme='99ME', meaning='My heart', category='anatomy'
    )
)


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp('phantom')
    ensure_phantom(root, size=64, counts=dict(train=2, val=1, test=1))
    return root


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, phantom):
    """Random weights, and a config with a code of its own."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('checkpoint')
    cfg = small_cfg(phantom, folder, CONFIG)
    cfg.dicom_codes = CODES
    cfg = expand_config(cfg)
    path = folder / 'iter_7.pth'
    state = build_model(cfg).state_dict()
    torch.save(dict(state_dict=state, meta=dict(cfg=cfg.pretty_text)), path)
    return path


@pytest.fixture
def xray(phantom, source):
    """A phantom as an inverted DICOM, wider than high."""
    grey = cv2.imread(str(next(phantom.rglob('*.png'))), cv2.IMREAD_GRAYSCALE)
    pixels = 255 - grey[:50]
    return source(
        pixels=pixels,
        PhotometricInterpretation='MONOCHROME1',
        StudyInstanceUID=pydicom.uid.generate_uid(),
    )


@pytest.mark.slow
def test_a_folder_gets_what_the_inferencer_says(
    run, checkpoint, xray, tmp_path
):
    out = tmp_path / 'dicom'
    args = [
        checkpoint,
        xray,
        '--out-dir',
        tmp_path / 'out',
        '--no-pictures',
        '--score-thr',
        0.5,
    ]
    code, said, err = run('predict', *args, '--dicom-out', out)
    assert code == 0, err
    assert '1 of 1 images have DICOM results' in said
    (result,) = FoundationXInferencer(checkpoint)(xray)
    seg = pydicom.dcmread(out / 'image_phantom_c_seg_segmentation.dcm')
    masks = result['phantom_c/seg'].masks
    frames = seg.pixel_array.reshape(-1, *masks.shape[1:])
    numbers = [
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for item in seg.PerFrameFunctionalGroupsSequence
    ]
    for mask, number in zip(frames, numbers):
        np.testing.assert_array_equal(mask, masks[number - 1])
    assert masks.any((1, 2)).sum() in (len(numbers), 0)
    own = seg.SegmentSequence[2].SegmentedPropertyTypeCodeSequence[0]
    assert own.CodeMeaning == 'My heart'
    assert (out / 'image_report.dcm').is_file()

    # what no results can be written for is said, and the others go on
    whole = pydicom.dcmread(xray)
    del whole.StudyInstanceUID
    whole.save_as(tmp_path / 'nameless.dcm')
    code, said, err = run(
        'predict', *args, tmp_path / 'nameless.dcm', '--dicom-out', out
    )
    assert code == 1 and 'no valid StudyInstanceUID' in err
    assert '1 of 2 images have DICOM results' in said


@pytest.mark.slow
def test_a_report_says_what_the_dicom_says(run, checkpoint, xray, tmp_path):
    whole = pydicom.dcmread(xray)
    whole.PixelSpacing = [1, 1]
    whole.save_as(xray)
    out = tmp_path / 'out'
    args = [checkpoint, xray, '--out-dir', out, '--no-pictures', '--report']
    code, _, err = run(
        *('predict', *args, '--dicom-out', tmp_path / 'dicom'),
        *('--prior', xray),
    )
    assert code == 0, err
    said = (out / 'image_report/report.txt').read_text()
    assert said.startswith('Not for diagnosis')
    content = json.loads((out / 'image_report/report.json').read_text())
    assert content['geometry']['spacing_from'] == 'PixelSpacing'
    report = pydicom.dcmread(tmp_path / 'dicom/image_report.dcm')
    numbers = str(report)
    measured = [m for m in content['measurements'] if m['value'] is not None]
    for each in measured:
        assert f'{each["value"]:.6g}' in numbers

    for more, why in (
        (['--thresholds', tmp_path / 'no.json'], 'no.json'),
        (['--wording', tmp_path / 'no.csv'], 'no.csv'),
        (['--prior', tmp_path / 'no.png'], 'no.png'),
    ):
        code, _, err = run('predict', *args, *more)
        assert code == 1 and why in err and 'Traceback' not in err
    # with a prior image of somebody else nothing is written at all
    other = tmp_path / 'other.dcm'
    whole.PatientID = 'another'
    whole.save_as(other)
    nothing = tmp_path / 'nothing'
    args[args.index(out)] = nothing
    code, _, err = run('predict', *args, '--prior', other)
    assert code == 1 and 'PatientID is not that' in err
    assert not nothing.exists()
    code, _, err = run('predict', *args[:-1], '--prior', xray)
    assert code == 1 and '--prior is of --report; add it' in err


@pytest.mark.slow
def test_from_an_archive_and_back(
    run, checkpoint, xray, archive, tmp_path, caplog
):
    image = pydicom.dcmread(xray)
    study = image.StudyInstanceUID
    DicomWeb(archive).store([image])
    args = [
        checkpoint,
        f'{archive}?study={study}',
        '--out-dir',
        tmp_path,
        '--score-thr',
        0.5,
    ]
    for count in (1, 2):  # the second time its own results are there
        code, said, err = run('predict', *args, '--dicom-out', archive)
        assert code == 0, err
        assert '1 of 1 images have DICOM results' in said
        client = DICOMwebClient(
            'http' + archive.removeprefix('dicomweb+http'),
            headers={'Authorization': 'Basic dGVzdGVyOnNlY3JldA=='},
        )
        found = client.search_for_instances(study, fields=['Modality'])
        kinds = sorted(each['00080060']['Value'][0] for each in found)
        assert kinds == sorted(['DX', *count * ['PR', 'SEG', 'SR']])
    whole = said + err + caplog.text
    for path in tmp_path.rglob('*.*'):
        if path.suffix in ('.json', '.csv'):
            whole += path.read_text()
    for secret in (*PATIENT['PatientName'].split('^'), 'A17', 'secret'):
        assert secret not in whole


@pytest.mark.slow
def test_addresses_that_cannot_be_used(run, checkpoint, xray, tmp_path):
    args = [checkpoint, xray, '--out-dir', tmp_path / 'out']
    address = 'dicomweb+http://pacs.example/x'
    for more in (['--dicom-out', address], [address + '?study=1.2']):
        code, _, err = run('predict', *args, *more)
        assert code == 1 and 'without encryption' in err
        assert 'Traceback' not in err
