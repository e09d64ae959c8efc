"""What the audit finds of changed copies, measured; and the tool."""

import itertools
import json

import cv2
import numpy as np
import pytest

from fx_mm.analysis import near_copies
from fx_mm.analysis.near_copies import CHANGES, study_copies
from fx_mm.phantom.render import render_phantom


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five phantoms, two of them alike; two changes and one of no copy."""
    images = [
        render_phantom(0, 'a', 'train', index, 0.0, 128).image
        for index in range(3)
    ]
    images += [255 - images[0], images[2]]
    for number, image in enumerate(images):
        assert cv2.imwrite(str(tmp_path / f'{number}.png'), image)
    (tmp_path / 'broken.png').write_bytes(b'nothing')
    others = (
        render_phantom(0, 'b', 'train', number, 0.0, 128).image
        for number in itertools.count()
    )
    some = {name: CHANGES[name] for name in ('letterbox 4:3', 'mirrored')}
    some['another'] = lambda image: next(others)
    monkeypatch.setattr(near_copies, 'CHANGES', some)
    return tmp_path


def test_no_images():
    study = study_copies([], workers=1)
    assert (study.images, study.copies, study.among) == (0, 0, [])
    assert set(study.found.values()) == {0}


def test_changes_keep_type_and_form():
    for shape in ((60, 90), (90, 60)):
        image = np.arange(5400, dtype=np.uint8).reshape(shape)
        for name, change in CHANGES.items():
            changed = change(image)
            assert changed.dtype == np.uint8, name
            assert changed.ndim == 2, name
            assert not np.array_equal(changed, image), name
        sides = sorted(CHANGES['letterbox 4:3'](image).shape)
        assert sides == [90, 120]


def test_found_and_wrong_pairs(folder):
    paths = sorted(map(str, folder.glob('*.png')))
    study = study_copies(paths, copies=2, workers=1)
    assert study.images == 5
    found = dict(study.found)
    assert found == {'letterbox 4:3': 2, 'mirrored': 2, 'another': 0}
    among = {(pair.first[-5], pair.second[-5]) for pair in study.among}
    assert among == {('0', '3'), ('2', '4')}
    # copies of what has a copy are no mistake, another image as copy is none
    assert study.wrong == []
    assert study.reading > 0 and study.comparing > 0


def test_tool(run, folder, tmp_path):
    out = tmp_path / 'figures.json'
    code, text, error = run(
        'analysis_tools/near_copies', folder, '--limit', 3, '--copies', 1,
        '--workers', 1, '--out', out,
    )  # fmt: skip
    assert code == 0, error
    assert 'letterbox 4:3' in text and '0 pairs among the images' in text
    figures = json.loads(out.read_text())
    assert figures['found'] == {
        'letterbox 4:3': 1, 'mirrored': 1, 'another': 0,
    }  # fmt: skip
    code, _, error = run('analysis_tools/near_copies', folder, '--copies', 0)
    assert code == 1 and '--copies' in error
    code, _, error = run('analysis_tools/near_copies', folder / 'none')
    assert code == 1 and 'no image in this folder' in error
