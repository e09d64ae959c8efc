"""Masks of every form, their values mutated."""

import numpy as np
from fuzzing import damage, damaged, fuzz, outcome_of
from hypothesis import strategies as st
from PIL import Image

from fx_mm.apis import read_mask

SIDE = 24
CLASSES = ('lungs', 'heart', 'nodule')
FORMS = ('binary_1', 'binary_255', 'soft', 'jpeg', 'alpha', 'label_map')
FORMS += ('palette', 'white_palette', 'deep')
FITTING = dict(
    binary_1='binary',
    binary_255='binary',
    soft='binary',
    jpeg='binary',
    alpha='alpha',
    label_map='label_map',
    palette='palette',
    white_palette='palette',
    deep='label_map',
)


@st.composite
def mask(draw):
    """A form of file and the truth that is written in it."""
    form = draw(st.sampled_from(FORMS))
    several = FITTING[form] in ('label_map', 'palette')
    count = draw(st.integers(2, 3)) if several else 1
    truth = np.zeros((SIDE, SIDE), int)
    for value in range(1, count + 1):
        if draw(st.integers(0, 4)):
            top, left = draw(st.tuples(*[st.integers(0, SIDE - 6)] * 2))
            truth[top : top + 6, left : left + 6] = value
    ignored = form in ('label_map', 'palette', 'white_palette', 'binary_1')
    # 0 and 255 alone are a mask of 255
    ignored &= form != 'binary_1' or truth.any()
    if ignored and draw(st.booleans()):
        truth[:2, :9] = 255
    return dict(form=form, truth=truth, classes=CLASSES[:count])


def write_mask(folder, case):
    """Write the truth in its form; return the path."""
    form, truth = case['form'], case['truth']
    plain = truth.astype(np.uint8)
    name = 'x.jpg' if form == 'jpeg' else 'x.png'
    path = folder / name
    if form in ('soft', 'jpeg', 'binary_255'):
        image = Image.fromarray(plain * 255)
        if form == 'soft':
            image = image.resize((SIDE * 4,) * 2, Image.Resampling.BILINEAR)
        if form == 'jpeg':
            image = image.resize((SIDE * 4,) * 2, Image.Resampling.NEAREST)
        image.save(path)
    elif form == 'alpha':
        white = np.full((SIDE, SIDE, 3), 255, np.uint8)
        Image.fromarray(np.dstack([white, plain * 255])).save(path)
    elif form in ('palette', 'white_palette'):
        image = Image.fromarray(plain, 'P')
        colours = [255] * 3 if form == 'white_palette' else [0] * 3
        colours += [200, 0, 0, 0, 200, 0, 0, 0, 200]
        image.putpalette(colours + [99] * (768 - len(colours)))
        image.save(path)
    elif form == 'deep':
        Image.fromarray(truth.astype(np.uint16)).save(path)
    else:
        Image.fromarray(plain).save(path)
    return path


@fuzz(st.tuples(mask(), st.booleans()), examples=200)
def test_masks(folder, drawn):
    """Pixels per class are those that were drawn, or it is refused."""
    case, told = drawn
    path = write_mask(folder, case)
    name = FITTING[case['form']] if told else None
    found, outcome = outcome_of(
        lambda: read_mask(str(path), case['classes'], name, decisions=True),
        path,
    )
    if found is None:
        assert not told, f'{case["form"]} is refused as {name}'
        return outcome
    masks, decisions = found
    scale = masks.shape[1] // SIDE
    slack = 60 if scale > 1 else 0
    assert masks.dtype == bool and len(masks) == len(case['classes'])
    for value, one in enumerate(masks, 1):
        expected = (case['truth'] == value).sum() * scale**2
        assert abs(one.sum() - expected) <= slack, (value, expected)
    assert decisions['ignore'].sum() == (case['truth'] == 255).sum()
    return 'warned' if decisions['warnings'] else outcome


@fuzz(
    st.tuples(
        st.lists(st.integers(0, 255), min_size=1, max_size=6),
        st.integers(1, 3),
        st.sampled_from(['L', 'P', 'RGB', 'RGBA', 'I;16']),
        st.none() | st.sampled_from(sorted(set(FITTING.values()))),
    ),
    examples=200,
)
def test_any_values(folder, drawn):
    """What has values of no sense is refused with the values."""
    values, count, mode, form = drawn
    if form in ('alpha', 'binary'):
        count = 1  # more is a mistake of the config, not of the file
    pixels = np.resize(np.array(values, np.uint8), (SIDE, SIDE))
    path = folder / 'x.png'
    if mode == 'I;16':
        image = Image.fromarray(pixels.astype(np.uint16) * 99)
    elif mode == 'P':
        image = Image.fromarray(pixels, 'P')
        image.putpalette(list(range(256)) * 3)
    else:
        image = Image.fromarray(pixels).convert(mode)
    image.save(path)
    found, outcome = outcome_of(
        lambda: read_mask(str(path), CLASSES[:count], form, decisions=True),
        path,
    )
    if found is None:
        return outcome
    masks, decisions = found
    assert masks.shape == (count, SIDE, SIDE)
    assert not (masks & decisions['ignore']).any()
    return 'warned' if decisions['warnings'] else outcome


@fuzz(st.tuples(mask(), damage(400)), examples=200)
def test_damaged_masks(folder, drawn):
    """Cut and changed mask files."""
    case, changes = drawn
    path = write_mask(folder, case)
    path.write_bytes(damaged(path.read_bytes(), changes))
    found, outcome = outcome_of(
        lambda: read_mask(str(path), case['classes'], decisions=True), path
    )
    if found is None:
        return outcome
    return 'warned' if found[1]['warnings'] else outcome
