"""A site as an app of Flower, which does the transport.

``tools/federated/site.py`` starts Flower's SuperNode, which runs this app anew
for each message, and again if it does not answer for a minute. So it is light,
and what trains is a process of its own, ``site_process.py``.
"""

import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from safetensors.numpy import load_file, save_file

from fx_mm.federated.launching import (
    IMAGES,
    end_with_parent,
    told_by_tool,
)

client_app = ClientApp()


def _answer(message: Message, **records: Any) -> Message:
    return Message(RecordDict(records), reply_to=message)


@client_app.query()
def introduce(message: Message, context: Context) -> Message:
    """Tell the server which site this is."""
    site = ConfigRecord({'name': told_by_tool()['site']})
    return _answer(message, site=site)


def _keep_errors(
    message: Message, context: Context, call_next: ClientAppCallable
) -> Message:
    """Answer without the text of an error, which Flower would send."""
    try:
        return call_next(message, context)
    except Exception:
        traceback.print_exc()
        return _failed(message)


@client_app.train(mods=[_keep_errors])
def train(message: Message, context: Context) -> Message:
    """Train a round."""
    number = int(message.content.config_records['config']['server-round']) - 1
    folder = _run(message, 'train', number)
    if folder is None:
        return _failed(message)
    images = json.loads((folder / 'images.json').read_text())
    total = max(images.values(), default=0)
    counts = {IMAGES + group: count for group, count in images.items()}
    arrays = {
        name: Array(value)
        for name, value in load_file(folder / 'answer.safetensors').items()
    }
    return _answer(
        message,
        arrays=ArrayRecord(arrays),
        metrics=MetricRecord({'num-examples': total, **counts}),
    )


@client_app.evaluate(mods=[_keep_errors])
def finish(message: Message, context: Context) -> Message:
    """Write the site's final model; its metrics stay at the site."""
    if _run(message, 'finish', 0) is None:
        return _failed(message)
    return _answer(message, metrics=MetricRecord({'num-examples': 0}))


def _failed(message: Message) -> Message:
    """Say that it failed, but not why: that may name files and images."""
    return _answer(message, error=ConfigRecord({}))


def _run(message: Message, what: str, number: int) -> Path | None:
    """Hand what arrived to a process, and wait for its end.

    Returns:
        Path: Where its answer is; None if it failed, which it says itself.
    """
    folder = Path(told_by_tool()['folder']) / 'flower'
    for key, record in message.content.array_records.items():
        values = {name: array.numpy() for name, array in record.items()}
        save_file(values, folder / f'{key}.safetensors')
    command = ('-m', 'fx_mm.federated.site_process', what, str(number))
    ended = subprocess.run(
        [sys.executable, *command],
        preexec_fn=end_with_parent,
        check=False,
    )
    return None if ended.returncode else folder
