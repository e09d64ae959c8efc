"""The server as an app of Flower, which does the transport.

``tools/federated/server.py`` starts Flower's SuperLink, which runs it. A
message to train holds the shared weights (``arrays``) and the number of the
round, its answer weights and counts of images (``metrics``); this is the
layout of Flower's own strategies.
"""

import json
import time
from collections.abc import Iterator
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from mmengine.config import Config

from fx_mm.federated.exchange import Update, Weights
from fx_mm.federated.launching import IMAGES, config_of, told_by_tool
from fx_mm.federated.server import FederatedServer
from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log

POLL = 1.0

server_app = ServerApp()


def _weights(message: Message) -> Weights:
    return dict(message.content.array_records['arrays'].to_torch_state_dict())


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """Run the rounds that are left, and write how it ended."""
    told = told_by_tool()
    cfg = config_of(told)
    error = None
    try:
        _serve(grid, cfg, told)
    except UserError as refusal:
        error = str(refusal)
    Path(told['ended']).write_text(json.dumps(dict(error=error)))


def _serve(grid: Grid, cfg: Config, told: dict[str, Any]) -> None:
    server = FederatedServer(cfg, told['resume'])
    sites = Sites(grid, list(server.plan.sites), told)
    while not server.done:
        chosen = server.plan.chosen(server.number)
        nodes, left_out = sites.wait_for(chosen)
        content = RecordDict(
            dict(
                arrays=ArrayRecord(server.weights),
                config=ConfigRecord({'server-round': server.number + 1}),
            )
        )
        updates: dict[str, Update] = {}
        for site, reply in sites.ask(nodes, content, 'train'):
            try:
                updates[site] = _update(reply, site)
                server.check(site, updates[site])
            except UserError as error:
                updates.pop(site, None)
                left_out[site] = str(error)
        for site in set(nodes) - set(updates) - set(left_out):
            left_out[site] = f'{site} did not answer.'
        server.close_round(updates, left_out)
    teacher = ArrayRecord(server.teacher or {})
    arrays = ArrayRecord(server.weights)
    content = RecordDict(dict(arrays=arrays, teacher=teacher))
    nodes, _ = sites.wait_for(list(server.plan.sites))
    ended = [
        site
        for site, reply in sites.ask(nodes, content, 'evaluate')
        if not (reply.has_error() or 'error' in reply.content)
    ]
    lack = sorted(set(server.plan.sites) - set(ended))
    if lack:
        raise UserError(
            f'All rounds are over, but {", ".join(lack)} did not write a '
            'final model; start the server again with --resume when they are '
            'there.'
        )
    log(f'All rounds are over; final models at {", ".join(ended)}.', INFO)


def _update(reply: Message, site: str) -> Update:
    """Read what a site answered.

    Raises:
        UserError: If it is not what a site answers.
    """
    if reply.has_error():
        # the reason that Flower gives may name files of the site
        raise UserError(f'{site} was lost before it answered.')
    if 'error' in reply.content:
        raise UserError(f'{site} failed; its own log says why.')
    try:
        metrics = dict(reply.content.metric_records['metrics'])
        images = {
            key.removeprefix(IMAGES): int(value)
            for key, value in metrics.items()
            if key.startswith(IMAGES)
        }
        return Update(_weights(reply), images)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'{site} sent no weights and counts.') from error


class Sites:
    """Which node is which site.

    Args:
        grid (Grid): Flower's.
        names (list[str]): Of the sites that the config has.
        told (dict): ``min_sites``, ``wait`` and ``timeout`` in seconds, and
            ``nodes``, a file with the node that each site's key belongs to.
    """

    def __init__(
        self, grid: Grid, names: list[str], told: dict[str, Any]
    ) -> None:
        self.grid, self.names, self.told = grid, names, told
        self._asked: set[int] = set()
        self._queries: set[str] = set()
        self._nodes: dict[str, int] = {}
        file = told.get('nodes')
        self._owned = json.loads(Path(file).read_text()) if file else None

    def online(self) -> dict[str, int]:
        """Return site to node, of those that are connected now.

        A node is asked once which site it is, and nobody waits for it.
        """
        nodes = set(self.grid.get_node_ids())
        new, self._asked = nodes - self._asked, nodes
        if new:
            messages = [Message(RecordDict({}), node, 'query') for node in new]
            self._queries |= set(self.grid.push_messages(messages))
        if self._queries:
            for reply in self.grid.pull_messages(self._queries):
                self._queries.discard(reply.metadata.reply_to_message_id)
                if not reply.has_error():
                    self._learn(reply)
        return {s: node for s, node in self._nodes.items() if node in nodes}

    def _learn(self, reply: Message) -> None:
        name = str(reply.content.config_records['site']['name'])
        if name not in self.names:
            log(f'Refused: {name!r} is no site here.', WARNING)
            return
        node = reply.metadata.src_node_id
        if self._owned is not None and self._owned[name] != node:
            log(f'Refused: one with the key of another says {name}.', WARNING)
            return
        # a node that was killed seems to be there for another minute
        if name in self._nodes:
            log(f'{name} connected again.', WARNING)
        self._nodes[name] = node

    def wait_for(
        self, chosen: list[str]
    ) -> tuple[dict[str, int], dict[str, str]]:
        """Wait for the sites of a round, see ``--wait`` and ``--min-sites``.

        Returns:
            tuple: Site to node; site to why it is left out.
        """
        begin, said = time.monotonic(), ''
        needed = min(self.told['min_sites'] or len(chosen), len(chosen))
        while True:
            online = self.online()
            nodes = {site: online[site] for site in chosen if site in online}
            absent = [site for site in chosen if site not in nodes]
            waited = time.monotonic() - begin > self.told['wait']
            if not absent or (waited and len(nodes) >= needed):
                reasons = {s: f'{s} is not connected.' for s in absent}
                return nodes, reasons
            if said != (said := f'Waiting for {", ".join(absent)}.'):
                log(said, INFO)
            time.sleep(POLL)

    def ask(
        self, nodes: dict[str, int], content: RecordDict, kind: str
    ) -> Iterator[tuple[str, Message]]:
        """Send a message to sites and yield the answers, as they come.

        It ends with the last answer, when all who did not answer are gone,
        or after ``timeout``.
        """
        messages = [Message(content, node, kind) for node in nodes.values()]
        # by message: what is said of a lost node comes from another one
        late = dict(zip(self.grid.push_messages(messages), nodes))
        end = time.monotonic() + self.told['timeout']
        while late and time.monotonic() < end:
            for reply in self.grid.pull_messages(list(late)):
                yield late.pop(reply.metadata.reply_to_message_id), reply
            lost = {nodes[site] for site in late.values()}
            if late and not set(self.grid.get_node_ids()) & lost:
                return
            time.sleep(POLL)
