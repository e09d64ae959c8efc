"""Requests in order: one at a time, checked, with a limit of time."""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pydantic import ValidationError, validate_call

from fx_mm.image_io.errors import ImageReadError
from fx_mm.utils.errors import UserError

SECONDS = 300
MOST_WAITING = 32


class InOrder:
    """Runs functions one after the other, in the order of the requests.

    A request that waits longer than the limit is dropped; one that runs
    cannot be stopped: its caller gets an error, and the next one begins when
    it has ended.

    Args:
        hidden (tuple[str]): Folders that no message may name.
        seconds (float): From the request to the answer. Defaults to 300.
        most (int): Requests that may wait. Defaults to 32.
    """

    def __init__(
        self,
        hidden: tuple[str, ...] = (),
        seconds: float = SECONDS,
        most: int = MOST_WAITING,
    ) -> None:
        self.seconds, self.most = seconds, most
        self._thread = ThreadPoolExecutor(1, 'fx_mm_app')
        self._open = 0
        # a copy lies below a folder of its own, named by the handle
        self._hidden = [
            re.compile(rf'{re.escape(each)}(/[\w-]{{12}}(?=/))?/?')
            for each in hidden
        ]

    def __call__(
        self, function: Callable[..., Any]
    ) -> Callable[..., Awaitable[Any]]:
        """Return the function as one that takes its turn.

        It has the same signature, checks its arguments by their types, and
        raises UserError for all that a caller can put right.
        """
        checked = validate_call(function)

        @functools.wraps(function)
        async def take_turn(*args: Any, **kwargs: Any) -> Any:
            if self._open >= self.most:
                raise UserError(
                    f'{self.most} requests are waiting; try again later.'
                )
            future = self._thread.submit(checked, *args, **kwargs)
            self._open += 1
            loop = asyncio.get_running_loop()
            future.add_done_callback(
                lambda done: loop.call_soon_threadsafe(self._close)
            )
            return await self._wait(future)

        return take_turn

    def _close(self) -> None:
        self._open -= 1

    async def _wait(self, future: 'Future[Any]') -> Any:
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(future), self.seconds
            )
        except (TimeoutError, asyncio.TimeoutError):
            raise UserError(
                f'no answer within {self.seconds:g} s; try again, or start '
                'the app with a larger --seconds.'
            ) from None
        except ValidationError as error:
            wrong = [
                f'{".".join(map(str, each["loc"]))}: {each["msg"]}'
                for each in error.errors(include_url=False)[:5]
            ]
            raise UserError(f'wrong arguments: {"; ".join(wrong)}.') from None
        except (UserError, ImageReadError) as error:
            text = str(error)
            for pattern in self._hidden:
                text = pattern.sub('', text)
            raise UserError(text) from None

    def close(self) -> None:
        """Wait for the request that runs; drop the others."""
        self._thread.shutdown(cancel_futures=True)
