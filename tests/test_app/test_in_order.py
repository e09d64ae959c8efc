"""Requests in order: one at a time, checked, with a limit of time."""

import asyncio
import inspect
import threading
import time
from typing import Annotated

import pytest

pytest.importorskip('pydantic')
from pydantic import Field

from fx_mm.app.in_order import InOrder
from fx_mm.utils.errors import UserError


def ask(count: Annotated[int, Field(ge=0, le=9)], name: str = '') -> str:
    """Ask."""
    if name == '/root/of/images/a.png':
        raise UserError(f'{name}: no, nor /tmp/copies/abcdefghij-_/b.png')
    return name * count


@pytest.fixture
def in_order():
    in_order = InOrder(('/root/of/images', '/tmp/copies'), seconds=5, most=4)
    yield in_order
    in_order.close()


def test_signature_and_answer_stay(in_order):
    function = in_order(ask)
    assert inspect.signature(function) == inspect.signature(ask)
    assert function.__name__ == 'ask' and function.__doc__ == 'Ask.'
    assert asyncio.run(function(2, name='ab')) == 'abab'


@pytest.mark.parametrize(
    ('args', 'word'),
    [
        ((), 'count'),
        ((-1,), 'greater than'),
        (('two',), 'integer'),
        ((None,), 'integer'),
        ((1, 5), 'string'),
        ((1, 'a', 'b'), 'Unexpected'),
    ],
)
def test_wrong_arguments_are_one_sentence(in_order, args, word):
    with pytest.raises(UserError, match=word) as error:
        asyncio.run(in_order(ask)(*args))
    assert '\n' not in str(error.value) and 'http' not in str(error.value)


def test_no_message_names_a_hidden_folder(in_order):
    with pytest.raises(UserError) as error:
        asyncio.run(in_order(ask)(1, '/root/of/images/a.png'))
    assert str(error.value) == 'a.png: no, nor b.png'


def test_a_fault_of_ours_stays_one(in_order):
    def broken() -> None:
        raise KeyError('x')

    with pytest.raises(KeyError):
        asyncio.run(in_order(broken)())


def test_one_at_a_time_in_order(in_order):
    seen, threads = [], set()

    def work(number: int) -> int:
        threads.add(threading.get_ident())
        seen.append(number)
        time.sleep(0.01)
        seen.append(number)
        return number

    async def main():
        turn = in_order(work)
        return await asyncio.gather(*(turn(n) for n in range(4)))

    assert asyncio.run(main()) == [0, 1, 2, 3]
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3] and len(threads) == 1


def test_limits_of_waiting():
    in_order = InOrder(seconds=0.05, most=2)
    release, done = threading.Event(), []

    def work(number: int) -> None:
        release.wait(5)
        done.append(number)

    async def main():
        turn = in_order(work)
        first, second = (asyncio.create_task(turn(n)) for n in (1, 2))
        await asyncio.sleep(0)
        with pytest.raises(UserError, match='2 requests are waiting'):
            await turn(3)
        for task in (first, second):
            with pytest.raises(UserError, match=r'no answer within 0\.05 s'):
                await task
        release.set()
        await asyncio.sleep(0.2)
        await turn(4)

    asyncio.run(main())
    # the one that ran came to its end, the one that waited never began
    assert done == [1, 4]
    in_order.close()
