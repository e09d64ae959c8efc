"""What a site does for a message, in a process of its own."""

import json
import sys
from pathlib import Path

from fx_mm.federated.exchange import Weights, pack, unpack
from fx_mm.federated.launching import config_of, told_by_tool
from fx_mm.federated.privacy import Privacy, PrivacyLedger
from fx_mm.federated.site import Site
from fx_mm.utils.cli import run_tool
from fx_mm.utils.files import write_whole


def main() -> None:
    """Train a round, or finish, with what ``flower_site.py`` wrote."""
    what, number = sys.argv[1:]
    told = told_by_tool()
    site = Site(config_of(told), told['site'])
    folder = Path(told['folder']) / 'flower'
    weights = _read(folder / 'arrays.safetensors')
    if what == 'finish':
        site.finish(weights, _read(folder / 'teacher.safetensors') or None)
        return
    ledger = PrivacyLedger(site.folder)
    privacy = Privacy(**told['privacy']) if told['privacy'] else None
    if privacy:
        privacy.check_budget(ledger)
    update = site.train(int(number), weights)
    answer, noise = update.weights, 0.0
    if privacy:
        answer, noise = privacy.protect(weights, answer), privacy.noise
    ledger.add(noise)
    if privacy and noise:
        # whatever the level of the training's log
        print(
            f'Privacy: epsilon {ledger.epsilon(privacy.delta):.4g} at delta '
            f'{privacy.delta:g} after {len(ledger.sent)} answers.',
            flush=True,
        )
    write_whole(folder / 'answer.safetensors', pack(answer))
    write_whole(folder / 'images.json', json.dumps(update.images))


def _read(file: Path) -> Weights:
    return unpack(file.read_bytes(), 'The server')


if __name__ == '__main__':
    run_tool(main)
