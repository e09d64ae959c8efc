"""Count the parameters of a model by part: ``model_summary.py CONFIG``."""

import argparse
import json
from collections import defaultdict

from fx_mm.apis import expand_config, load_config
from fx_mm.models import FoundationX
from fx_mm.registry import MODELS
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.cli import run_tool
from fx_mm.utils.config_options import ConfigOptions

from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table


def count_parts(model: FoundationX) -> dict[str, dict[str, int]]:
    """Count parameters by group and owner.

    Args:
        model (FoundationX): The model.

    Returns:
        dict: Group, such as ``backbone``, ``localization/encoder`` or
        ``loc/decoder``, to the number of parameters by owner: the dataset,
        or ``shared``.
    """
    counts = defaultdict(dict)
    parameters = dict(model.named_parameters())
    for group in model.param_groups():
        name, owner = group.name, 'shared'
        if group.task:
            owner, name = name.split('/', 1)
        counts[name][owner] = sum(
            p.numel() for key, p in parameters.items() if group.owns(key)
        )
    return dict(counts)


def make_table(counts: dict, title: str) -> Table:
    """Make the table: a row per group, own ones with the datasets' counts."""
    table = Table(title=title)
    table.add_column('group')
    table.add_column('parameters', justify='right')
    table.add_column('of')
    for name, owners in counts.items():
        numbers = sorted(set(owners.values()))
        if list(owners) == ['shared']:
            detail = 'shared'
        elif len(numbers) == 1 < len(owners):
            detail = f'{len(owners)} datasets, {numbers[0]:,} each'
        else:
            detail = ', '.join(f'{k} {v:,}' for k, v in owners.items())
        table.add_row(name, f'{sum(owners.values()):,}', detail)
    total = sum(sum(owners.values()) for owners in counts.values())
    table.add_section()
    table.add_row('total', f'{total:,}', 'the teacher has as many')
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', help='JSON file to write')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        help='change the config: key=value, nested.key=value',
    )
    args = parser.parse_args()
    init_default_scope('fx_mm')
    MMLogger.get_instance('model_summary', log_level='ERROR')
    cfg = expand_config(load_config(args.config, args.cfg_options))
    student = dict(cfg.model.student, tasks=cfg.task_table)
    model = build_part(MODELS, student)
    counts = count_parts(model)
    Console(width=100).print(make_table(counts, args.config))
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(counts, file, indent=2)


if __name__ == '__main__':
    run_tool(main)
