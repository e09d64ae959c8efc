"""Predict: ``python tools/predict.py [CONFIG] CHECKPOINT IMAGE|FOLDER ...``.

Writes, for each image, an annotated picture, a JSON file and the masks, and
for all images a table of the probabilities and one of the numbers (of
regression tasks); with --explain also what each finding rests on, with
--report measurements and sentences. Without a config, the one that the
checkpoint holds is read. ``--dicom-out`` writes DICOM objects beside them, or
stores them in an archive.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

from fx_mm.apis import FoundationXInferencer, ImageResult, load_config
from fx_mm.apis.dicom_results import open_dicom
from fx_mm.apis.explanation import save_explanations
from fx_mm.apis.image_report import ImageReporter, choose_prior
from fx_mm.apis.image_sources import ImageSource, list_sources
from fx_mm.apis.inference import BATCH_SIZE
from fx_mm.apis.result_files import output_names, save_result
from fx_mm.dicom_out import SourceError, is_web_address
from fx_mm.utils.checks import check_number
from fx_mm.utils.cli import (
    add_config_options,
    add_model_options,
    at_least,
    run_tool,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.results import SCORE_THR, result_class

from mmengine.config import Config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='[CONFIG] CHECKPOINT IMAGE',
        help='config file (.py), which may be left out; checkpoint file or '
        'URL; PNG, JPEG, TIFF, DICOM, .mha or .IMG files, folders of them, or '
        'a study of an archive (dicomweb://host/path?study=UID)',
    )
    parser.add_argument(
        '--out-dir',
        help='where the results go (default: predictions/ in the work dir, '
        'or beside the checkpoint)',
    )
    parser.add_argument('--tasks', nargs='+', help='only these tasks')
    parser.add_argument(
        '--question', help='what to ask tasks that answer questions'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=SCORE_THR,
        help='boxes with a lower score are left out (default: %(default)s)',
    )
    parser.add_argument('--batch-size', type=at_least(1), default=BATCH_SIZE)
    parser.add_argument(
        '--no-pictures', action='store_true', help='write no pictures'
    )
    parser.add_argument(
        '--dicom-out',
        metavar='DIR|ADDRESS',
        help='write, for each DICOM image, its masks (SEG), a report (SR) and '
        'its boxes (presentation state) as DICOM into this folder, or store '
        'them in an archive (dicomweb://host/path)',
    )
    parser.add_argument(
        '--explain',
        action='store_true',
        help='write a picture of what each finding of labels and boxes rests '
        'on, into IMAGE_explain/',
    )
    parser.add_argument(
        '--report',
        action='store_true',
        help='write measurements and sentences, each with what it came from, '
        'into IMAGE_report/; not for diagnosis',
    )
    parser.add_argument(
        '--thresholds',
        metavar='RESULTS_JSON',
        help='results of tools/test.py --thresholds-from val, for --report '
        '(default: results.json beside the checkpoint)',
    )
    parser.add_argument(
        '--wording',
        metavar='CSV',
        help='table of the sentences of --report (default: the English one)',
    )
    parser.add_argument(
        '--prior',
        metavar='IMAGE',
        help='prior image of the patient that --report compares with',
    )
    add_model_options(parser)
    add_config_options(parser)
    return parser.parse_intermixed_args()


def split_paths(
    args: argparse.Namespace,
) -> tuple[Config | None, str, list[str]]:
    """Split the paths into config, checkpoint and images.

    Raises:
        UserError: If one is missing.
    """
    paths, cfg = list(args.paths), None
    if paths[0].endswith('.py'):
        cfg = load_config(paths.pop(0), args.cfg_options, args.data_root)
    elif args.cfg_options or args.data_root:
        raise UserError(
            '--cfg-options and --data-root change a config; give its file '
            'before the checkpoint.'
        )
    if len(paths) < 2:
        raise UserError(
            'give a checkpoint and at least one image or folder: '
            'predict.py [CONFIG] CHECKPOINT IMAGE ...'
        )
    return cfg, paths[0], paths[1:]


def list_images(paths: list[str], out_dir: Path) -> list[ImageSource]:
    """List the images of files, folders and studies.

    Raises:
        UserError: If there is no such file, or a folder without images.
    """
    for path in paths:
        if not is_web_address(path) and not Path(path).exists():
            raise UserError(
                f'{path}: no such file or folder; give an image or a '
                'folder of images.'
            )
    return list(list_sources(paths, exclude=out_dir)[0])


def open_reporter(
    args: argparse.Namespace,
    infer: FoundationXInferencer,
    images: list[ImageSource],
    out_dir: Path,
) -> ImageReporter | None:
    """Return what writes reports, None without --report.

    Raises:
        UserError: If an option of it is given alone, or cannot be used.
    """
    if not args.report:
        for name in ('thresholds', 'wording', 'prior'):
            if getattr(args, name) is not None:
                raise UserError(f'--{name} is of --report; add it.')
        return None
    prior = None
    if args.prior is not None:
        priors = list_images([args.prior], out_dir)
        prior = choose_prior(priors, len(images))
    return ImageReporter(
        *(infer, args.thresholds, args.wording, args.score_thr, prior)
    )


def table_row(result: ImageResult) -> dict[str, str]:
    """Return ``task/class`` to value, and what names the image."""
    row = dict(image=result.path or result.name, error=result.error or '')
    for prediction in result.predictions.values():
        row |= prediction.row()
    return row


def write_tables(
    rows: list[dict[str, str]], infer: FoundationXInferencer, folder: Path
) -> None:
    """Write one table per kind of values: probabilities, numbers."""
    tables: dict[str, list[str]] = {}
    for task in infer.tasks:
        result = result_class(task)
        if result.table:
            tables.setdefault(result.table, []).extend(result.columns(task))
    for name, columns in tables.items():
        text = io.StringIO()
        writer = csv.DictWriter(
            text,
            ['image', *columns, 'error'],
            extrasaction='ignore',
            lineterminator='\n',
        )
        writer.writeheader()
        writer.writerows(rows)
        write_whole(folder / name, text.getvalue())


def main() -> int:
    args = parse_args()
    check_number('--score-thr', args.score_thr, 0, 1)
    cfg, checkpoint, sources = split_paths(args)
    home = Path(checkpoint).parent if cfg is None else Path(cfg.work_dir)
    if '://' in checkpoint and cfg is None:
        home = Path()
    out_dir = Path(args.out_dir or home / 'predictions')
    images = list_images(sources, out_dir)
    infer = FoundationXInferencer(
        cfg,
        checkpoint,
        args.device,
        predict_on=args.predict_on,
        tasks=args.tasks,
        trust=args.trust,
        question=args.question,
    )
    reporter = open_reporter(args, infer, images, out_dir)
    dicom = None
    if args.dicom_out is not None:
        dicom = open_dicom(infer, args.dicom_out, args.score_thr)
    rows, n_without = [], 0
    paths = [image.path for image in images]
    results = infer.iterate(paths, args.batch_size, skip_unreadable=True)
    try:
        for image, name, result in zip(
            images, output_names(images), results, strict=True
        ):
            rows.append(table_row(result))
            if result.error is not None:
                print(f'error: {result.error}', file=sys.stderr)
                continue
            stem = out_dir / name
            measured = None
            if reporter is not None:
                # first: with a prior image of another patient nothing is kept
                measured = reporter.measure(image, result)
                reporter.save(image, result, measured, f'{stem}_report')
            save_result(
                result,
                stem,
                args.score_thr,
                infer.checkpoint,
                infer.predict_on,
                picture=not args.no_pictures,
            )
            if args.explain:
                folder = f'{stem}_explain'
                save_explanations(infer, image, folder, args.score_thr)
            what = '.json' if args.no_pictures else '.png, .json'
            print(f'{result.path} -> {stem}{what}')
            try:
                if dicom is not None:
                    dicom(result, name, measured)
            except SourceError as error:
                print(f'error: {error}', file=sys.stderr)
                n_without += 1
        write_tables(rows, infer, out_dir)
    except OSError as error:
        raise UserError(
            f'{out_dir}: the results cannot be written ({error.strerror}); '
            'give another --out-dir.'
        ) from error
    n_failed = sum(bool(row['error']) for row in rows)
    if n_failed:
        print(
            f'error: {n_failed} of {len(rows)} images could not be read.',
            file=sys.stderr,
        )
    if dicom is not None:
        print(
            f'{dicom.counts["made"]} of {len(rows)} images have DICOM results '
            f'in {args.dicom_out}'
        )
    return 1 if n_failed or n_without else 0


if __name__ == '__main__':
    run_tool(main)
