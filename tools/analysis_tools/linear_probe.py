"""Linear probing: how well a line through fixed vectors tells the labels.

    python tools/analysis_tools/linear_probe.py EMB.npz [--out DIR]

A logistic regression a class on standardised vectors of the training images;
its strength is chosen on validation images; the AUC of the test images comes
with its 95 % interval (bootstrap by patient). Writes ``linear_probe.json``,
``linear_probe.md`` and, for subgroups.py, ``DATASET_scores.csv``.
"""

import argparse
import math
from pathlib import Path

from fx_mm.analysis.embeddings import Embeddings
from fx_mm.analysis.probing import Probe, probe_dataset
from fx_mm.analysis.reports import write_json, write_scores
from fx_mm.evaluation.statistics.bootstrap import RESAMPLES
from fx_mm.utils.cli import add_bootstrap_options, run_tool
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('embeddings', help='of embed.py, .npz')
    parser.add_argument(
        '--out', type=Path, help='folder (default: that of the embeddings)'
    )
    add_bootstrap_options(parser, RESAMPLES)
    return parser.parse_args()


def markdown(probe: Probe) -> str:
    rows = []
    for each in probe.classes:
        positive, negative = each.counts['test']
        strength = each.missing or f'{each.strength:g}'
        val = 'n/a' if math.isnan(each.val) else f'{each.val:.3f}'
        rows.append(
            [each.name, f'{positive}/{negative}', strength, val, each.test]
        )
    rows.append(['mean', '', '', '', probe.mean])
    header = ('class', 'test +/-', 'C', 'val AUC', 'test AUC [95 %]')
    return f'## {probe.dataset}\n\n{markdown_table(header, rows)}\n'


def to_dict(probe: Probe) -> dict:
    return dict(
        mean=probe.mean.to_dict(),
        classes={
            each.name: dict(
                counts=each.counts,
                strength=each.strength,
                val=None if math.isnan(each.val) else each.val,
                test=each.test.to_dict(),
                missing=each.missing or None,
            )
            for each in probe.classes
        },
    )


def main():
    args = parse_args()
    embeddings = Embeddings.load(args.embeddings)
    out = args.out or Path(args.embeddings).parent
    texts, content = [], {}
    for dataset, names in embeddings.meta['datasets'].items():
        probe = probe_dataset(
            embeddings, dataset, resamples=args.resamples, seed=args.seed
        )
        texts.append(markdown(probe))
        content[dataset] = to_dict(probe)
        write_scores(
            out / f'{dataset}_scores.csv',
            probe.names,
            dict(zip(names, probe.scores.T)),
            dict(zip(names, probe.labels.T)),
        )
    meta = {k: v for k, v in embeddings.meta.items() if k != 'datasets'}
    meta.update(resamples=args.resamples, seed=args.seed)
    write_json(out / 'linear_probe.json', dict(meta, datasets=content))
    text = '\n'.join(texts)
    write_whole(out / 'linear_probe.md', text)
    print(text)


if __name__ == '__main__':
    run_tool(main)
