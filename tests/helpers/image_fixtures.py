"""Image files that the tests of the data side write."""

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fx_mm.tasks import Task


@pytest.fixture
def grey():
    """An image of 24x32 pixels with all 256 grey values."""
    values = np.arange(24 * 32) % 256
    return values.astype(np.uint8).reshape(24, 32)


@pytest.fixture
def make_task():
    """Build a task from its kind and classes."""

    def make(kind='cls', classes=('A', 'B'), label_type=None):
        config = dict(label_type=label_type)
        return Task('toy', kind, tuple(classes), config=config)

    return make


@pytest.fixture
def write_images(tmp_path):
    """Write grey images of 24x32 pixels into ``images/``."""

    def write(*names, shape=(24, 32)):
        folder = tmp_path / 'images'
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, shape)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
        return str(folder)

    return write


@pytest.fixture
def write_dicom(tmp_path):
    """Write a DICOM file; keywords become its elements."""

    def write(pixels, name='image.dcm', **elements):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.1.1'
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = tmp_path / name
        dataset = FileDataset(
            str(path), {}, file_meta=meta, preamble=b'\0' * 128
        )
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.Rows, dataset.Columns = pixels.shape[-2:]
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = 'MONOCHROME2'
        bits = 8 * pixels.dtype.itemsize
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == 'i')
        dataset.PixelData = pixels.tobytes()
        dataset['PixelData'].VR = 'OB' if bits == 8 else 'OW'
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        if 'BitsStored' in elements:
            dataset.HighBit = dataset.BitsStored - 1
        dataset.save_as(path, enforce_file_format=True)
        return str(path)

    return write
