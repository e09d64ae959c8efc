"""Text on pictures: letters, widths, lines."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from fx_mm.visualization import text as text_module
from fx_mm.visualization.task_plots import _finish
from fx_mm.visualization.text import (
    ELLIPSIS,
    fit_text,
    font_families,
    line_height,
    printable,
    put_text,
    text_strip,
    text_width,
    wrap_text,
)

DEJAVU = Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf')
LONG = 'Enlarged Cardiomediastinum with a long explanation 0.83'
RED = (255, 0, 0)


def drawn(text, shape=(20, 400), origin=(0, 0), **kwargs):
    canvas = np.zeros((*shape, 3), np.uint8)
    put_text(canvas, text, origin, (255, 255, 255), **kwargs)
    return canvas[..., 0]


def by_pillow(text, shape=(20, 400)):
    """The same line by Pillow alone."""
    image = Image.new('L', shape[::-1])
    font = ImageFont.truetype(str(DEJAVU), 11)
    ImageDraw.Draw(image).text((1, 11), text, 255, font, anchor='ls')
    return np.asarray(image)


def test_no_text_at_all():
    assert not drawn('').any()
    assert text_width('') == 0
    assert wrap_text('', 50) == ['']
    assert fit_text('', 5) == ''
    assert text_strip([], 64).shape == (0, 64, 3)


@pytest.mark.parametrize('text', ['Nähe', 'Пневмония', 'Πνευμονία', '± 3 ≥'])
def test_letters_are_drawn_as_they_are(text):
    canvas = drawn(text)
    assert (canvas == by_pillow(text)).all()
    assert (canvas != drawn('?' * len(text))).any()
    # each letter has a shape of its own, and none is the box of a missing one
    shapes = {letter: drawn(letter).tobytes() for letter in set(text)}
    assert len(set(shapes.values())) == len(shapes)
    missing = by_pillow('\U000f1234').tobytes()
    assert missing not in shapes.values()


def test_composed_and_decomposed_letters_are_one():
    assert (drawn('Na\u0308he') == drawn('Nähe')).all()


@pytest.fixture
def clear():
    """Forget what fonts have, before and after."""

    def forget():
        for function in (
            printable,
            text_module._font_file,
            text_module._glyph,
            text_module._width,
            text_module._ink,
            text_module._plate,
        ):
            function.cache_clear()

    forget()
    yield
    forget()


@pytest.fixture
def rare(monkeypatch, clear):
    """A letter that STIX has and DejaVu has not, and STIX installed."""
    stix = DEJAVU.parent / 'STIXGeneral.ttf'
    has = [set(font_manager.get_font(f).get_charmap()) for f in (stix, DEJAVU)]
    files = (str(DEJAVU), str(stix))
    monkeypatch.setattr(text_module, '_font_files', lambda: files)
    # some are marks or blanks
    return next(c for c in map(chr, sorted(has[0] - has[1])) if c.isalpha())


def test_a_letter_of_another_font(rare):
    assert printable(rare) == rare
    assert drawn(rare).any()
    both = drawn(f'a{rare}b')
    assert (both != drawn('ab')).any()
    assert (
        both[:, : text_width('a') - 2]
        == drawn('a')[:, :400][:, : text_width('a') - 2]
    ).all()


def test_families_for_matplotlib(rare):
    assert font_families([]) == ['DejaVu Sans']
    assert font_families(['Nähe', rare]) == ['DejaVu Sans', 'STIXGeneral']


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('no_font', [False, True])
def test_legends_of_plots(rare, no_font, tmp_path, monkeypatch, clear):
    if no_font:
        files = (str(DEJAVU),)
        monkeypatch.setattr(text_module, '_font_files', lambda: files)
    figure = Figure()
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1], label=f'Пневмония {rare}')
    ax.plot([0, 1], [0, 1], label='$x and \\frac{$ nonsense')
    _finish(ax)
    figure.savefig(tmp_path / 'plot.png')  # warns of letters that are missing
    name = ax.get_legend().get_texts()[0].get_text()
    assert name.endswith(f'<U+{ord(rare):04X}>' if no_font else rare)


def test_what_no_font_has_is_named(clear):
    assert printable('a\U000f1234b') == 'a<U+F1234>b'


def test_one_line_of_what_can_be_read():
    assert printable('a\nb\tc\r\n') == 'a b c  '
    assert printable('\x1b[31mred\x07') == '[31mred'
    assert printable('\u202egnp.exe') == 'gnp.exe'
    # a byte of a file's name that is no UTF-8
    assert printable('scan\udcff.png') == 'scan\\udcff.png'


@pytest.mark.parametrize('text', ['i', 'W', LONG, 'Пневмония', 'jf' * 40])
def test_all_ink_is_within_the_width(text):
    canvas = drawn(text, (30, 800), origin=(3, 5))
    rows, columns = np.nonzero(canvas)
    assert columns.min() >= 3
    assert columns.max() < 3 + text_width(text)
    assert rows.min() >= 5 and rows.max() < 5 + line_height()


@pytest.mark.parametrize('width', [0, 5, 12, 40, 100, 250, 1000])
def test_shortened_in_the_middle(width):
    short = fit_text(LONG, width)
    assert text_width(short) <= width
    if width >= text_width(LONG):
        assert short == LONG
    elif short:
        head, tail = short.split(ELLIPSIS)
        assert LONG.startswith(head) and LONG.endswith(tail)
        longer = LONG[: len(head) + 1] + ELLIPSIS + LONG[-len(tail) - 1 :]
        assert text_width(longer) > width
    if width == 100:
        assert short.endswith(' 0.83')


@pytest.mark.parametrize('origin', [(380, 2), (500, 2), (2, 300), (-9, -9)])
def test_nothing_beyond_the_canvas(origin):
    whole = np.zeros((40, 420, 3), np.uint8)
    put_text(whole[:20, :400], LONG, origin, RED)
    assert not whole[20:].any() and not whole[:, 400:].any()


@pytest.mark.parametrize('text', [LONG, 'x' * 200, 'a b', ''])
@pytest.mark.parametrize('width', [20, 64, 250])
def test_wrapped(text, width):
    lines = wrap_text(text, width)
    assert all(text_width(line) <= width for line in lines)
    assert ''.join(lines).replace(' ', '') == text.replace(' ', '')


def test_lines_break_at_blanks():
    assert wrap_text('one two three', text_width('one two')) == [
        'one two',
        'three',
    ]


def test_narrower_than_a_letter():
    assert wrap_text('WW', 1) == ['W', 'W']
    assert fit_text('WW', 1) == ''


def test_strip_of_pieces_in_their_colours():
    names = [f'class number {i}' for i in range(20)]
    colors = [(255 - i, 100, i) for i in range(20)]
    strip = text_strip([list(zip(names, colors))], 256)
    assert strip.shape[0] % line_height() == 0 and strip.shape[1] == 256
    places = [
        np.argwhere((strip == np.array(color)).all(-1)) for color in colors
    ]
    assert all(len(place) for place in places)
    # in the order of reading, and none over another
    ends = [
        (
            place[:, 0].min() // line_height(),
            place[:, 1].min(),
            place.max(0)[1],
        )
        for place in places
    ]
    for (line, _, end), (after, start, _) in zip(ends, ends[1:]):
        assert after == line + 1 or (after == line and start > end)


def test_each_paragraph_begins_a_line():
    step = line_height()
    assert text_strip(['one', 'two'], 256).shape[0] == 2 * step
    assert text_strip(['one', LONG, 'two'], 128).shape[0] == step * (
        2 + len(wrap_text(LONG, 124))
    )
