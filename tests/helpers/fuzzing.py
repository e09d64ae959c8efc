"""Mutated inputs: hundreds of each kind in `make test`, an hour's worth in
`make fuzz`.

A fuzz test is a function of one drawn case that returns what came out of it,
'read', 'warned' or 'refused', and lets everything else be an error. The seeds
are fixed, so that a fault comes again.
"""

import functools
import json
import os
import time
import traceback
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fx_mm.utils.errors import UserError

EXAMPLES = 100
"""Cases per seed."""
SECONDS = float(os.environ.get('FX_MM_FUZZ_SECONDS', 0))
"""How long each kind is tried; 0: one seed."""
REPORT = os.environ.get('FX_MM_FUZZ_REPORT')
"""File that gets a line of JSON per kind."""


def fuzz(strategy, examples=EXAMPLES):
    """Make a pytest test of a function of (folder, case).

    Args:
        strategy: hypothesis' strategy of one case.
        examples (int): Cases per seed. Defaults to 100.
    """

    def decorate(check):
        # not functools.wraps, by which pytest would ask for a fixture "case"
        def test(tmp_path):
            outcomes, faults = explore(
                functools.partial(check, tmp_path), strategy, examples
            )
            write_report(
                check.__name__.removeprefix('test_'), outcomes, faults
            )
            assert not faults, '\n\n'.join(faults.values())
            # a check that refuses all, or nothing, tests half
            assert outcomes['read'] + outcomes['warned'] > 0

        test.__doc__ = check.__doc__
        test.__name__ = check.__name__
        test.__module__ = check.__module__
        return test

    return decorate


def explore(check, strategy, examples):
    """Run a check on drawn cases until the time is over.

    Returns:
        tuple[Counter, dict[str, str]]: How often each outcome came; place
        and kind of each fault to its traceback.
    """
    outcomes, faults = Counter(), {}
    end = time.monotonic() + SECONDS
    number = 0
    while True:

        @seed(number)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def batch(case):
            outcomes[check(case)] += 1

        try:
            batch()
        except Exception as error:
            # hypothesis groups several
            for fault in getattr(error, 'exceptions', [error]):
                frames = traceback.extract_tb(fault.__traceback__)
                place = f'{type(fault).__name__} in {frames[-1].name}'
                text = traceback.format_list(frames[-4:])
                text += traceback.format_exception_only(fault)
                text += dict.fromkeys(getattr(fault, '__notes__', []))
                faults.setdefault(f'{place}: {fault}'[:90], ''.join(text))
        number += 1
        if time.monotonic() >= end:
            return outcomes, faults


def outcome_of(read, path):
    """Run ``read``; return its value and 'read', or None and 'refused'.

    Raises:
        AssertionError: If a refusal does not name the file.
    """
    try:
        return read(), 'read'
    except UserError as error:
        assert Path(path).name in str(error), (
            f'the refusal does not name the file: {error}'
        )
        return None, 'refused'


@st.composite
def damage(draw, size=2000):
    """What is done to a file's bytes."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(['cut', 'change', 'insert', 'drop']),
                st.integers(0, size),
                st.binary(min_size=1, max_size=4),
            ),
            min_size=1,
            max_size=3,
        )
    )


def damaged(data, changes):
    """Apply :func:`damage`; places beyond the end are those of the end."""
    for what, place, content in changes:
        place = min(place, len(data))
        if what == 'cut':
            data = data[:place]
        elif what == 'change':
            data = data[:place] + content + data[place + len(content) :]
        elif what == 'insert':
            data = data[:place] + content + data[place:]
        else:
            data = data[:place] + data[place + len(content) :]
    return data


def write_report(kind, outcomes, faults):
    """Append what a kind gave to the report, if one is asked for."""
    if REPORT:
        line = dict(
            kind=kind,
            tried=sum(outcomes.values()),
            **outcomes,
            faults=sorted(faults),
        )
        with open(REPORT, 'a') as file:
            file.write(json.dumps(line) + '\n')
