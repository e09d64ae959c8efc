"""Image files in the formats of official datasets."""

import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from fx_mm.phantom.raw_cases import RawCase
from fx_mm.utils.files import write_whole

DEPTH = 16
"""What a grey value of the phantom becomes in 12-bit files: times 16."""


def save_image(path: Path, image: np.ndarray, mode: str = 'L') -> None:
    """Write a PNG, JPEG or GIF file; the suffix decides.

    Args:
        path (Path): The file.
        image (np.ndarray): uint8 grey values or bool mask, (height, width).
        mode (str): Pillow's mode of the file: ``L`` (grey), ``RGB``,
            ``RGBA`` or ``1`` (one bit per pixel). Defaults to ``L``.
    """
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    picture = Image.fromarray(image).convert(mode)
    content = BytesIO()
    suffix = path.suffix.lower()
    if suffix in ('.jpg', '.jpeg'):
        picture.save(content, 'JPEG', quality=95)
    else:
        picture.save(content, suffix[1:])
    write_whole(path, content.getvalue(), flush=False)


def save_meta_image(path: Path, image: np.ndarray, compress: bool) -> None:
    """Write a MetaImage (.mha) file of 16-bit values.

    Args:
        path (Path): The file.
        image (np.ndarray): uint8, (height, width).
        compress (bool): Whether its values are compressed (zlib).
    """
    values = (image.astype('<u2') * DEPTH).tobytes()
    fields = {
        'ObjectType': 'Image',
        'NDims': 2,
        'BinaryData': True,
        'BinaryDataByteOrderMSB': False,
        'CompressedData': compress,
    }
    if compress:
        values = zlib.compress(values)
        fields['CompressedDataSize'] = len(values)
    fields |= {
        'TransformMatrix': '1 0 0 1',
        'Offset': '0 0',
        'CenterOfRotation': '0 0',
        'ElementSpacing': '0.35 0.35',
        'DimSize': f'{image.shape[1]} {image.shape[0]}',
        'ElementType': 'MET_USHORT',
        'ElementDataFile': 'LOCAL',
    }
    header = ''.join(f'{key} = {value}\n' for key, value in fields.items())
    write_whole(path, header.encode() + values, flush=False)


def save_raw(path: Path, image: np.ndarray) -> None:
    """Write a headerless file of optical densities, as JSRT's are.

    Args:
        path (Path): The file.
        image (np.ndarray): uint8, square; bright bone, which is low density.
    """
    density = 4095 - image.astype(np.uint16) * DEPTH
    write_whole(path, density.astype('>u2').tobytes(), flush=False)


def save_dicom(
    path: Path,
    image: np.ndarray,
    uid: str,
    metadata: Mapping[str, Any],
    bits: int = 8,
    inverse: bool = False,
    codec: str | None = None,
) -> None:
    """Write a DICOM file.

    Args:
        path (Path): The file.
        image (np.ndarray): uint8, (height, width).
        uid (str): Its SOPInstanceUID.
        metadata (Mapping): Further elements by keyword, such as PatientSex.
        bits (int): Bits per pixel: 8; or 9 to 16, then the values start at
            100 and a window says which are black and white. Defaults to 8.
        inverse (bool): Whether low values are bright (MONOCHROME1).
            Defaults to False.
        codec (str, optional): ``jpeg`` (baseline, 8 bits, lossy) or
            ``jpeg2000`` (lossless). Defaults to None: not compressed.
    """
    # pydicom takes 0.3 s to import; most users of phantoms do not need it
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import (
        UID,
        ExplicitVRLittleEndian,
        JPEG2000Lossless,
        JPEGBaseline8Bit,
        SecondaryCaptureImageStorage,
    )

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = uid
    data.Modality, data.BodyPartExamined = 'CR', 'CHEST'
    for keyword, value in metadata.items():
        setattr(data, keyword, value)
    values = 255 - image if inverse else image
    if bits > 8:
        step = (2**bits - 200) // 255
        values = values.astype(np.uint16) * step + 100
        # The window whose two ends are the values of black and white.
        data.WindowCenter = 100 + (255 * step + 1) / 2
        data.WindowWidth = 255 * step + 1
    data.PhotometricInterpretation = f'MONOCHROME{1 if inverse else 2}'
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.Rows, data.Columns = image.shape
    data.BitsAllocated = 8 * values.itemsize
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelData = values.tobytes()
    data['PixelData'].VR = 'OB' if bits == 8 else 'OW'
    if codec == 'jpeg':
        _, encoded = cv2.imencode(
            '.jpg', values, [cv2.IMWRITE_JPEG_QUALITY, 95]
        )
        data.PixelData = encapsulate([encoded.tobytes()])
        data['PixelData'].VR = 'OB'
        meta.TransferSyntaxUID = JPEGBaseline8Bit
        data.LossyImageCompression = '01'
        data.LossyImageCompressionMethod = 'ISO_10918_1'
    elif codec == 'jpeg2000':
        data.compress(JPEG2000Lossless, generate_instance_uid=False)
    content = BytesIO()
    data.save_as(content, enforce_file_format=True)
    write_whole(path, content.getvalue(), flush=False)


def dicom_metadata(case: RawCase) -> dict[str, str]:
    """Return a case's patient as DICOM elements."""
    return dict(
        PatientID=f'phantom{case.patient:05d}',
        PatientSex=case.sex,
        PatientAge=f'{case.age:03d}Y',
        ViewPosition=case.position,
    )


def sop_uid(case: RawCase) -> str:
    """Return an image's SOPInstanceUID: its key as a number under 2.25.

    Source: DICOM PS3.5, annex B.2.
    """
    return f'2.25.{int(case.key, 16)}'
