"""Image files with mutated headers, tags, chunks and bytes."""

import io
import struct
import zlib

import numpy as np
import pydicom
from fuzzing import damage, damaged, fuzz, outcome_of
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fx_mm.image_io.pixels import MANY_LEVELS
from fx_mm.image_io.xray import read_xray

ODD_NUMBERS = st.sampled_from(
    ['', ' ', 'abc', '1,5', '0', '-1', '1e9', '-1e9', '1e400', 'nan', 'inf']
    + ['-inf', '128', '2048', '40', '350', '0.5', '1e-9', '\\128', '128\\64']
    + ['600\\40', '1 2', '--', '0x10', '32768', '65535', '-2000']
)
NUMBER_TAGS = (
    'WindowCenter',
    'WindowWidth',
    'RescaleSlope',
    'RescaleIntercept',
)
DISPLAY = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(NUMBER_TAGS, ODD_NUMBERS),
        'VOILUTFunction': st.sampled_from(
            ['', 'LINEAR', 'SIGMOID', 'LINEAR_EXACT', 'sigmoid', 'CUBIC', '?']
        ),
        'PresentationLUTShape': st.sampled_from(
            ['', 'IDENTITY', 'INVERSE', 'LIN OD', '?']
        ),
        'PixelPaddingValue': st.sampled_from([0, 1, 63536, 65535, 4095]),
        'PixelPaddingRangeLimit': st.sampled_from([0, 10, 65535]),
        'RescaleType': st.sampled_from(['', 'HU', 'US']),
    },
)


@st.composite
def lut(draw):
    """A lookup table whose descriptor may lie about its entries."""
    entries = draw(st.sampled_from([2, 16, 256, 4096]))
    told = draw(st.sampled_from([entries, entries - 1, entries + 1, 0]))
    first = draw(st.sampled_from([0, 1, 100, 3000, 60000]))
    bits = draw(st.sampled_from([8, 10, 12, 16, 0, 99]))
    top = 2 ** min(max(bits, 8), 16) - 1
    table = np.linspace(0, top, entries).astype(np.uint16)
    return [told, first, bits], table


@st.composite
def dicom(draw):
    """Pixels, and display tags of any sense."""
    bits = draw(st.sampled_from([8, 10, 12, 14, 16]))
    signed = draw(st.booleans())
    low = draw(st.sampled_from([0, 0, 100]))
    high = draw(st.sampled_from([2**bits - 1, 2 ** (bits - 1), low + 40]))
    values = np.linspace(low, high, 40 * 32).reshape(40, 32).round()
    if signed:
        values = values - 2 ** (bits - 1)
    return dict(
        values=values.astype(np.int16 if signed else np.uint16),
        bits=bits,
        photometric=draw(
            st.sampled_from(['MONOCHROME1', 'MONOCHROME2', 'MONOCHROME2'])
        ),
        syntax=draw(
            st.sampled_from(
                [
                    ExplicitVRLittleEndian,
                    ImplicitVRLittleEndian,
                    ExplicitVRBigEndian,
                ]
            )
        ),
        tags=draw(DISPLAY),
        voi=draw(st.none() | lut()),
        modality=draw(st.none() | lut()),
    )


def encode_dicom(case):
    """Write a case as a file's bytes, odd texts as they are."""
    values = case['values']
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = case['syntax']
    dataset.file_meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.1'
    dataset.file_meta.MediaStorageSOPInstanceUID = '1.2.3'
    dataset.SOPClassUID = '1.2.840.10008.5.1.4.1.1.1'
    dataset.SOPInstanceUID = '1.2.3'
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = case['photometric']
    dataset.BitsAllocated = 16
    dataset.BitsStored = case['bits']
    dataset.HighBit = case['bits'] - 1
    signed = values.dtype.kind == 'i'
    dataset.PixelRepresentation = int(signed)
    for tag, value in case['tags'].items():
        if isinstance(value, int):
            dataset.add(DataElement(tag, 'US', value))
        else:  # LO, since DS would not take text
            dataset.add(DataElement(tag, 'LO', value))
    for tag, table in (
        ('VOILUTSequence', case['voi']),
        ('ModalityLUTSequence', case['modality']),
    ):
        if table is not None:
            descriptor, entries = table
            item = Dataset()
            item.add(DataElement('LUTDescriptor', 'US', descriptor))
            item.add(DataElement('LUTData', 'US', list(map(int, entries))))
            dataset.add(DataElement(tag, 'SQ', [item]))
    order = '>' if case['syntax'] == ExplicitVRBigEndian else '<'
    stored = values.astype(values.dtype.newbyteorder(order))
    dataset.add(DataElement('PixelData', 'OW', stored.tobytes()))
    buffer = io.BytesIO()
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def check_grey(image, decisions, levels):
    """Hold an image against the property; return what came out."""
    assert image.dtype == np.uint8
    assert image.ndim == 2
    warned = bool(decisions['warnings'])
    left = len(np.unique(image))
    assert warned or left >= 8 or levels <= MANY_LEVELS, (
        f'{levels} values became {left}, without a warning'
    )
    return 'warned' if warned else 'read'


@fuzz(dicom(), examples=150)
def test_dicom_display_tags(folder, case):
    """Whatever tags of display say, readable pixels are read."""
    path = folder / 'x.dcm'
    path.write_bytes(encode_dicom(case))
    image, decisions = read_xray(str(path), decisions=True)
    values = case['values']
    assert image.shape == values.shape
    outcome = check_grey(image, decisions, len(np.unique(values)))
    if outcome == 'read' and not (case['voi'] or case['modality']):
        # a display never changes the order of the values but as a whole
        steps = np.diff(image.ravel().astype(int))
        assert (steps >= 0).all() or (steps <= 0).all()
    return outcome


@st.composite
def tiff(draw):
    """A grey TIFF of any depth, sample format, order and photometric."""
    kind, bits = draw(
        st.sampled_from(
            [('u', 8), ('u', 16), ('u', 32), ('i', 8), ('i', 16), ('i', 32)]
            + [('f', 32), ('f', 64), ('u', 12), ('u', 1), ('u', 4)]
        )
    )
    return dict(
        kind=kind,
        bits=bits,
        order=draw(st.sampled_from('<>')),
        white_is_zero=draw(st.booleans()),
        deflated=draw(st.booleans()),
        strips=draw(st.sampled_from([1, 3])),
    )


def ramp(case, height=48, width=8):
    """Rows of equal values, from the lowest to the highest."""
    kind, bits = case['kind'], case['bits']
    if kind == 'f':
        low, high = -3.5, 1e5
    elif kind == 'i':
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    else:
        low, high = 0, 2**bits - 1
    rows = np.linspace(low, high, height)
    if kind != 'f':
        rows = rows.round()
    return np.repeat(rows[:, None], width, axis=1)


def pack_rows(case, values):
    """Return the bytes of some rows."""
    kind, bits, order = case['kind'], case['bits'], case['order']
    if bits in (1, 4, 12):
        out = b''
        for row in values.astype(int):
            text = ''.join(f'{value:0{bits}b}' for value in row)
            text += '0' * (-len(text) % 8)
            out += int(text, 2).to_bytes(len(text) // 8, 'big')
        return out
    return values.astype(f'{order}{kind}{bits // 8}').tobytes()


def encode_tiff(case, mutate=None):
    """Write a TIFF by its specification (revision 6.0), strip by strip."""
    values = ramp(case)
    if case['white_is_zero']:
        values = values[::-1]
    strips = [
        pack_rows(case, part)
        for part in np.array_split(values, case['strips'])
    ]
    if case['deflated']:
        strips = [zlib.compress(strip) for strip in strips]
    order, count = case['order'], len(strips)
    formats = dict(u=1, i=2, f=3)
    rows_per_strip = -(-len(values) // count)
    offsets, place = [], 8
    for strip in strips:
        offsets.append(place)
        place += len(strip)
    lists = place
    tags = {
        256: (4, [values.shape[1]]),
        257: (4, [values.shape[0]]),
        258: (3, [case['bits']]),
        259: (3, [8 if case['deflated'] else 1]),
        262: (3, [0 if case['white_is_zero'] else 1]),
        273: (4, offsets),
        277: (3, [1]),
        278: (4, [rows_per_strip]),
        279: (4, [len(strip) for strip in strips]),
        339: (3, [formats[case['kind']]]),
    }
    if mutate:
        mutate(tags)
    extra, entries = b'', b''
    for tag, (kind, numbers) in sorted(tags.items()):
        code = {3: 'H', 4: 'I'}[kind]
        data = struct.pack(f'{order}{len(numbers)}{code}', *numbers)
        if len(data) > 4:
            data, extra = (
                struct.pack(f'{order}I', lists + len(extra)),
                extra + data,
            )
        entries += struct.pack(f'{order}HHI', tag, kind, len(numbers))
        entries += data.ljust(4, b'\0')
    directory = lists + len(extra)
    head = (b'II' if order == '<' else b'MM') + struct.pack(
        f'{order}HI', 42, directory
    )
    body = struct.pack(f'{order}H', len(tags)) + entries + bytes(4)
    return head + b''.join(strips) + extra + body


@fuzz(tiff(), examples=150)
def test_tiff_forms(folder, case):
    """Dark above, bright below, whatever the form."""
    path = folder / 'x.tif'
    path.write_bytes(encode_tiff(case))
    image, decisions = read_xray(str(path), decisions=True)
    expected = ramp(case)
    low, high = expected.min(), expected.max()
    expected = (expected - low) / (high - low) * 255
    assert np.abs(image - expected).max() <= 1
    return 'warned' if decisions['warnings'] else 'read'


NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 7, 16, 255, 40000, 65535])


@fuzz(
    st.tuples(
        tiff(),
        st.sampled_from([256, 257, 258, 259, 262, 273, 277, 278, 279, 339])
        | st.sampled_from([266, 274, 284, 317, 320, 322]),
        st.lists(NUMBERS, max_size=3),
    ),
    examples=150,
)
def test_tiff_tags(folder, drawn):
    """A mutated tag never ends in another error than a refusal."""
    case, tag, numbers = drawn
    path = folder / 'x.tif'

    def mutate(tags):
        if numbers:
            tags[tag] = (3, numbers)
        else:
            tags.pop(tag, None)

    path.write_bytes(encode_tiff(case, mutate))
    found, outcome = outcome_of(
        lambda: read_xray(str(path), decisions=True), path
    )
    if found is None:
        return outcome
    return 'warned' if found[1]['warnings'] else outcome


MODES = ('L', 'I;16', 'RGB', 'RGBA', 'P', '1', 'LA')


def picture(mode):
    """Draw a picture of a Pillow mode, with more than 16 values."""
    grey = np.add.outer(np.arange(24) * 5, np.arange(16) * 8).astype(np.uint8)
    if mode == 'I;16':
        return Image.fromarray(grey.astype(np.uint16) * 200)
    return Image.fromarray(grey).convert(mode)


def read_or_refused(path, data):
    """Read damaged bytes: an image or a refusal that names the file."""
    path.write_bytes(data)
    found, outcome = outcome_of(
        lambda: read_xray(str(path), decisions=True), path
    )
    if found is None:
        return outcome
    image, decisions = found
    assert image.dtype == np.uint8 and image.ndim == 2 and image.size
    return 'warned' if decisions['warnings'] else outcome


FORMATS = [('PNG', m) for m in MODES]
FORMATS += [('TIFF', m) for m in MODES if m != 'LA']
FORMATS += [('JPEG', 'L'), ('JPEG', 'RGB'), ('BMP', 'L'), ('GIF', 'P')]


@fuzz(st.tuples(st.sampled_from(FORMATS), damage()), examples=250)
def test_damaged_bytes(folder, drawn):
    """Cut and changed files of all formats."""
    (form, mode), changes = drawn
    buffer = io.BytesIO()
    picture(mode).save(buffer, form)
    return read_or_refused(
        folder / f'x.{form.lower()}', damaged(buffer.getvalue(), changes)
    )


@fuzz(st.tuples(dicom(), damage(2500)), examples=150)
def test_damaged_dicom(folder, drawn):
    """Cut and changed DICOM files."""
    case, changes = drawn
    return read_or_refused(
        folder / 'x.dcm', damaged(encode_dicom(case), changes)
    )


def chunks_of(data):
    """Split a PNG into (type, content)."""
    place, found = 8, []
    while place < len(data):
        (length,) = struct.unpack_from('>I', data, place)
        content = data[place + 8 : place + 8 + length]
        found.append((data[place + 4 : place + 8], content))
        place += 12 + length
    return found


def join_chunks(chunks):
    """Write a PNG of chunks, with right checksums."""
    out = b'\x89PNG\r\n\x1a\n'
    for name, content in chunks:
        out += struct.pack('>I', len(content)) + name + content
        out += struct.pack('>I', zlib.crc32(name + content))
    return out


@fuzz(
    st.tuples(
        st.sampled_from(MODES),
        st.sampled_from(['drop', 'twice', 'change', 'add', 'swap']),
        st.integers(0, 6),
        st.sampled_from(
            [b'tEXt', b'tRNS', b'gAMA', b'sBIT', b'PLTE', b'eXIf', b'IHDR']
            + [b'acTL', b'IDAT', b'abCd', b'iCCP', b'bKGD']
        ),
        st.binary(max_size=30),
    ),
    examples=200,
)
def test_png_chunks(folder, drawn):
    """Chunks that lack, repeat, or say something else, with checksums."""
    mode, what, place, name, content = drawn
    buffer = io.BytesIO()
    picture(mode).save(buffer, 'PNG')
    chunks = chunks_of(buffer.getvalue())
    place = min(place, len(chunks) - 1)
    if what == 'drop':
        del chunks[place]
    elif what == 'twice':
        chunks.insert(place, chunks[place])
    elif what == 'change':
        old = chunks[place][1]
        chunks[place] = chunks[place][0], content + old[len(content) :]
    elif what == 'add':
        chunks.insert(max(place, 1), (name, content))
    else:
        chunks[place], chunks[-1] = chunks[-1], chunks[place]
    return read_or_refused(folder / 'x.png', join_chunks(chunks))
