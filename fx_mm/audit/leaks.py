"""What pairs of equal images mean for the splits they lie in."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from fx_mm.audit.duplicates import Pair
from fx_mm.audit.findings import Finding
from fx_mm.audit.patients import holdings, pair_level
from fx_mm.audit.task_splits import TaskSplit


def find_duplicates(
    splits: Iterable[TaskSplit], pairs: Iterable[Pair]
) -> tuple[list[Finding], dict[Any, Any]]:
    """Sort pairs of equal images by the splits that they connect.

    Args:
        splits (Iterable[TaskSplit]): The splits.
        pairs (Iterable[Pair]): Pairs of paths.

    Returns:
        tuple: Findings ``same-content`` (equal files) and
        ``near-duplicates``; name of a finding to its pairs, best first.
    """
    owners = defaultdict(list)
    order = {each: number for number, each in enumerate(holdings(splits))}
    for each in order:
        for path in each.images:
            owners[path].append(each)
    groups: dict[Any, Any] = {}
    for pair in pairs:
        check = 'same-content' if pair.exact else 'near-duplicates'
        for a in owners[pair.first]:
            for b in owners[pair.second]:
                key = (check, *sorted((a, b), key=order.__getitem__))
                group = groups.setdefault(key, (pair_level(a, b), []))
                if pair not in group[1][-1:]:
                    group[1].append(pair)
    findings: list[Finding] = []
    found = {}
    for (check, a, b), (level, group) in groups.items():
        group.sort(key=lambda pair: -pair.score)
        a, b = a.name, b.name
        where = f'within {a}' if a == b else f'between {a} and {b}'
        text = (
            'are equal files'
            if check == 'same-content'
            else 'show the same image (resized, re-encoded, windowed, '
            'cropped, padded, turned, mirrored or inverted)'
        )
        finding = Finding(
            check,
            (a, b),
            level or 'warning',
            f'{len(group)} pairs {where} {text}.',
            len(group),
            [_example(pair) for pair in group[:20]],
        )
        findings.append(finding)
        found[finding.name] = group
    return findings, found


def _example(pair: Pair) -> list[Any]:
    what = 'equal' if pair.exact else f'{pair.score:.3f} {pair.change}'.strip()
    return [pair.first, pair.second, what]
