"""Tables of text."""

from fx_mm.utils.text_table import console_table, markdown_table

HEADER = ['task', 'Dice, present, teacher', 'n']


def test_without_rows():
    assert console_table(HEADER, []).splitlines() == [
        '         Dice',
        '      present',
        'task  teacher  n',
        '----------------',
    ]
    assert markdown_table(['a', 'b'], []) == '| a | b |\n| --- | --- |'


def test_columns_are_aligned_and_cells_are_no_markup(monkeypatch):
    # neither a narrow nor a colourful terminal changes the text
    monkeypatch.setenv('COLUMNS', '20')
    monkeypatch.setenv('FORCE_COLOR', '1')
    rows = [['a' * 30, '0.5 [0.4, 0.6]', 7], ['[red]b', ':smile:', 123]]
    lines = console_table(HEADER, rows).splitlines()
    assert lines[-2] == 'a' * 30 + '  0.5 [0.4, 0.6]    7'
    assert lines[-1] == '[red]b' + ' ' * 33 + ':smile:  123'
    assert len({len(line) for line in lines[-4:]}) == 1
    both = console_table(HEADER, rows, left=2).splitlines()
    assert both[-1].startswith('[red]b' + ' ' * 26 + ':smile:  ')


def test_a_bar_in_a_markdown_cell_is_escaped():
    lines = markdown_table(['a'], [['x|y'], [1.5]]).splitlines()
    assert lines[2:] == [r'| x\|y |', '| 1.5 |']
