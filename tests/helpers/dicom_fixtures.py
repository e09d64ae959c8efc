"""DICOM sources, made-up predictions on them, and an archive to store in."""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from fx_mm.apis import ClsResult, ImageResult, LocResult, SegResult, read_xray
from fx_mm.dicom_out import DicomResults
from fx_mm.tasks import Task
from fx_mm.visualization.results import RegResult

UID = '1.2.826.0.1.3680043.8.498.'
PATIENT = dict(
    SpecificCharacterSet='ISO_IR 100',
    PatientID='A17',
    PatientName='Müller^Änne',
    PatientBirthDate='19500102',
    PatientSex='F',
    StudyInstanceUID=UID + '1',
    SeriesInstanceUID=UID + '2',
    StudyDate='20250304',
    StudyTime='101112',
    AccessionNumber='N9',
    StudyID='S1',
    ReferringPhysicianName='',
    Modality='DX',
)
MASKS = ('Left lung', 'R3', 'Nodule', 'Strange thing')
PLUGIN = Path('/usr/share/orthanc/plugins/libOrthancDicomWeb.so')


def grey_values(height=40, width=60):
    """Pixels that no turn or flip leaves the same, uint16."""
    rows, columns = np.mgrid[:height, :width]
    return (rows * 40 + columns * 7).astype(np.uint16)


@pytest.fixture
def source(write_dicom):
    """Write an X-ray of a patient; keywords change its elements."""

    def write(name='image.dcm', pixels=None, **elements):
        pixels = grey_values() if pixels is None else pixels
        return write_dicom(pixels, name, **{**PATIENT, **elements})

    return write


def predictions(path, boxes=2, masks=True):
    """What a model could say of a file, a task of each kind."""
    _, reading = read_xray(path, True)
    size = (40, 60)
    mask = np.zeros((len(MASKS), *size), bool)
    if masks:
        mask[0, 3:20, 5:9] = True
        mask[2, 30:33, 50:60] = True
    corners = np.array([[5.5, 2, 20, 30], [-3, 10, 99, 39]], np.float32)
    results = (
        ClsResult(
            Task('a', 'cls', ('Nodule', 'No finding')),
            np.array([0.25, 0.5], np.float32),
        ),
        LocResult(
            Task('a', 'loc', ('Nodule', 'Pneumothorax')),
            corners[:boxes],
            np.array([0.9, 0.4], np.float32)[:boxes],
            np.array([1, 0])[:boxes],
        ),
        SegResult(Task('a', 'seg', MASKS), mask),
        RegResult(
            Task('a', 'reg', ('Cardiothoracic ratio',)),
            np.array([0.5], np.float32),
        ),
    )
    return ImageResult(
        Path(path).name,
        str(path),
        size,
        {result.task.name: result for result in results},
        reading=reading,
    )


@pytest.fixture
def make(tmp_path):
    """Make the DICOM objects of a result."""
    checkpoint = tmp_path / 'iter_7.pth'
    checkpoint.write_bytes(b'weights')
    return DicomResults('FoundationX', checkpoint).make


@pytest.fixture(scope='session')
def orthanc(tmp_path_factory):
    """An archive on the loopback; gives its address and its credentials."""
    program = shutil.which('Orthanc') or '/usr/sbin/Orthanc'
    if not (Path(program).is_file() and PLUGIN.is_file()):
        pytest.skip('needs the Debian packages orthanc and orthanc-dicomweb')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp('orthanc')
    settings = dict(
        StorageDirectory=str(folder / 'db'),
        IndexDirectory=str(folder / 'db'),
        HttpPort=port,
        DicomServerEnabled=False,
        RemoteAccessAllowed=False,
        AuthenticationEnabled=True,
        RegisteredUsers={'tester': 'secret'},
        Plugins=[str(PLUGIN)],
        DicomWeb=dict(Enable=True, Root='/dicom-web/'),
    )
    (folder / 'settings.json').write_text(json.dumps(settings))
    with (folder / 'log').open('w') as log:
        server = subprocess.Popen(
            [program, str(folder / 'settings.json')],
            stdout=log,
            stderr=log,
        )
    url = f'http://127.0.0.1:{port}/dicom-web'
    try:
        for _ in range(200):
            try:
                requests.get(url + '/studies', timeout=5)
                break
            except requests.ConnectionError:
                assert server.poll() is None, (folder / 'log').read_text()
                time.sleep(0.05)
        yield url
    finally:
        server.kill()  # it takes 2 s to end
        server.wait()


@pytest.fixture
def archive(orthanc, monkeypatch):
    """The archive's address, with the credentials in the environment."""
    monkeypatch.setenv('FX_MM_DICOMWEB_USER', 'tester')
    monkeypatch.setenv('FX_MM_DICOMWEB_PASSWORD', 'secret')
    return 'dicomweb+' + orthanc
