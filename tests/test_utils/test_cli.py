"""How the tools end."""

import argparse

import pytest

from fx_mm.utils.cli import (
    add_bootstrap_options,
    add_model_options,
    run_tool,
)
from fx_mm.utils.errors import UserError


def test_ctrl_c_ends_a_tool_in_a_word(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match='^130$'):
        run_tool(main)
    assert capsys.readouterr().err == 'interrupted\n'


def test_names_that_are_no_text_can_be_printed(capsys):
    def main():
        print('a\udcff.png')
        raise UserError('b\udcff.png is wrong.')

    with pytest.raises(SystemExit, match='^1$'):
        run_tool(main)
    out = capsys.readouterr()
    assert out.out == 'a\\udcff.png\n'
    assert out.err == 'error: b\\udcff.png is wrong.\n'


def test_shared_options():
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    add_bootstrap_options(parser, 7)
    args = parser.parse_args([])
    assert args.predict_on is args.device is None and not args.trust
    assert (args.resamples, args.seed) == (7, 0)
    args = parser.parse_args(['--resamples', '1', '--seed', '3', '--trust'])
    assert (args.resamples, args.seed, args.trust) == (1, 3, True)


@pytest.mark.parametrize(
    ('option', 'value', 'low'),
    [
        ('--resamples', '0', 1),
        ('--resamples', '2.5', 1),
        ('--seed', '-1', 0),
        ('--seed', 'x', 0),
    ],
)
def test_numbers_that_are_too_small(option, value, low, capsys):
    parser = argparse.ArgumentParser()
    add_bootstrap_options(parser, 7)
    with pytest.raises(SystemExit, match='^2$'):
        parser.parse_args([f'{option}={value}'])
    message = f'{option}: "{value}" is not a whole number of at least {low}'
    assert message in capsys.readouterr().err
