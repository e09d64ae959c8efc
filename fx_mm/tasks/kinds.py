"""Task kinds: all that is particular to one form of annotation.

Every other place asks the row: model, sampler, dataset, evaluator, report,
pictures, export. A new kind is one class here (or in a module that the config
imports), and the branch, the metric, the reader and the result that it names.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from mmengine.registry import Registry

from fx_mm.registry import SCOPE
from fx_mm.utils.checks import (
    check_choice,
    check_keys,
    check_number,
    check_per_class,
    suggest,
)
from fx_mm.utils.errors import UserError

TASK_KINDS = Registry('task kind', scope=SCOPE)
"""Kinds by name; the order of registration is the order in every table."""

IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
CHEST_XRAY = dict(mean=0.5056 * 255, std=0.252 * 255)
"""Values on the 0..255 scale. Foundation X takes Ark's statistics of chest
X-rays for classification and ImageNet's for the others."""

LABEL_TYPES = ('multi-label', 'multi-class')
CROPS = ('center_crop', 'ten_crop')


class Column(NamedTuple):
    """A headline metric of a kind.

    Attributes:
        title (str): What stands above it in the closing table.
        metric (str): Key of the task's metric.
        averaged (bool): Whether a mean over datasets says something.
            Defaults to True.
    """

    title: str
    metric: str
    averaged: bool = True


class TaskKind:
    """One form of annotation with its branch, metric and rules.

    A subclass is a row of :data:`TASK_KINDS`; it is never instantiated.
    Classes are named by their type in the registry of their layer, so this
    module imports none of them.

    Attributes:
        name (str): Second half of a task's name, ``dataset/name``.
        annotation (str): What the experts noted, for people: ``labels``.
        branch (str): Attribute of the branch in ``FoundationX``, and its key
            in the model's config.
        branch_type (str): Default class of the branch, in ``MODELS``.
        metric (str): Class of the metric, in ``METRICS``.
        columns (tuple[Column]): Headline metrics, the main one first.
        class_metric (str): Metric that the table lists per class, as
            ``metric/class``.
        curves (tuple[str]): Metrics worth a curve, the first that a task has
            is drawn, and logged.
        published (str): Metric that the papers report; empty for none.
        class_published (str): The same per class, as ``metric/class``;
            empty where it is ``published``.
        result (str): Class of a typed prediction, in ``RESULTS``: how it is
            drawn, saved and written to JSON.
        reader (str): Default reader, in ``READERS``.
        keys (dict): Keys that only this kind's entries may have, and their
            types.
        metric_keys (tuple[str]): Those of ``keys`` that the metric takes.
        defaults (dict): Values of ``keys`` where neither entry nor
            ``task_defaults`` set one.
        tta (tuple[str]): Test-time views that its branch can merge.
        lock_pass (bool): Whether Foundation X gives it a lock pass in front
            of its release pass.
        normalize (dict): Default ``mean`` and ``std``, on the 0..255 scale.
        unlabelled (bool): Whether it takes images whatever is noted on them,
            so that any could be one that another task holds out: a training
            refuses those.
        places (bool): Whether its annotation lies somewhere in the image, so
            that two views of one must have one geometry.
    """

    name: ClassVar[str]
    annotation: ClassVar[str]
    branch: ClassVar[str]
    branch_type: ClassVar[str]
    metric: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    class_metric: ClassVar[str]
    curves: ClassVar[tuple[str, ...]]
    published: ClassVar[str] = ''
    class_published: ClassVar[str] = ''
    result: ClassVar[str]
    reader: ClassVar[str]
    keys: ClassVar[dict[str, Any]] = {}
    metric_keys: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}
    tta: ClassVar[tuple[str, ...]] = ()
    lock_pass: ClassVar[bool] = True
    normalize: ClassVar[dict[str, Any]] = IMAGENET
    unlabelled: ClassVar[bool] = False
    places: ClassVar[bool] = False

    @classmethod
    def headline(cls) -> str:
        """Return the key of the main metric, such as ``AUC``."""
        return cls.columns[0].metric

    @classmethod
    def check_entry(cls, where: str, config: dict[str, Any]) -> None:
        """Check the values of :attr:`keys` of a task's entry.

        Args:
            where (str): The entry's place in the config, for messages.
            config (dict): The entry over the kind's defaults.

        Raises:
            UserError: If a value makes no sense.
        """


Kind = type[TaskKind]


def find_kind(name: str) -> Kind:
    """Look up a kind.

    Raises:
        UserError: If no kind has this name.
    """
    # Registry.get makes mmengine's logger, which imports torch
    kind = TASK_KINDS.module_dict.get(name)
    if kind is None:
        raise UserError(
            f'Unknown task kind "{name}"; '
            f'{suggest(name, TASK_KINDS.module_dict)}.'
        )
    return kind


def all_kinds() -> tuple[Kind, ...]:
    """Return all registered kinds, in the order of every table."""
    return tuple(TASK_KINDS.module_dict.values())


@TASK_KINDS.register_module(name='cls')
class ClassificationKind(TaskKind):
    """Image labels."""

    name = 'cls'
    annotation = 'labels'
    branch = 'classification'
    branch_type = 'ClassificationBranch'
    metric = 'ClsMetric'
    columns = (Column('Cls AUC', 'AUC'),)
    class_metric = 'AUC'
    curves = ('AUC',)
    published = 'AUC'
    result = 'ClsResult'
    reader = 'CsvLabelReader'
    keys = dict(
        label_type=str,
        pos_weight=float | Sequence[float] | None,
        focal=dict | None,
    )
    defaults = dict(label_type='multi-label')
    tta = ('flip', *CROPS)
    lock_pass = False
    normalize = CHEST_XRAY

    @classmethod
    def check_entry(cls, where: str, config: dict[str, Any]) -> None:
        """Refuse labels, weights and losses that do not go together."""
        classes, label_type = config['classes'], config['label_type']
        check_choice(f'{where}.label_type', label_type, LABEL_TYPES)
        exclusive = label_type == 'multi-class'
        if exclusive and len(classes) < 2:
            raise UserError(
                f'{where} has one class and exclusive labels, which leaves '
                'nothing to choose; write label_type="multi-label".'
            )
        weight, focal = config.get('pos_weight'), config.get('focal')
        check_per_class(f'{where}.pos_weight', weight, classes)
        if focal is None:
            return
        check_keys(focal, ('gamma', 'alpha'), f'{where}.focal')
        check_number(f'{where}.focal.gamma', focal.get('gamma', 2.0), 0)
        alpha = focal.get('alpha')
        check_per_class(f'{where}.focal.alpha', alpha, classes, 1)
        if exclusive:
            raise UserError(
                f'{where}.focal is for label_type="multi-label"; exclusive '
                'classes take pos_weight, one per class.'
            )
        if weight is not None:
            raise UserError(
                f'{where} has both pos_weight and focal; remove one '
                '(focal.alpha is the weight of positives).'
            )


@TASK_KINDS.register_module(name='loc')
class LocalizationKind(TaskKind):
    """Boxes."""

    name = 'loc'
    annotation = 'boxes'
    branch = 'localization'
    branch_type = 'LocalizationBranch'
    metric = 'LocMetric'
    columns = (Column('Loc mAP40', 'mAP_40'),)
    class_metric = 'AP_40'
    curves = ('mAP_40', 'mAP_50', 'mAP')
    published = 'mAP_40'
    class_published = 'AP_40'
    result = 'LocResult'
    reader = 'CocoReader'
    keys = dict(box_free_share=float | None)
    tta = ('flip',)
    places = True


@TASK_KINDS.register_module(name='seg')
class SegmentationKind(TaskKind):
    """Masks."""

    name = 'seg'
    annotation = 'masks'
    branch = 'segmentation'
    branch_type = 'SegmentationBranch'
    metric = 'SegMetric'
    columns = (
        Column('Seg Dice, present', 'Dice_pos'),
        Column('Seg Dice, empty=1', 'Dice'),
    )
    class_metric = 'Dice_pos'
    curves = ('Dice_pos', 'Dice')
    published = 'Dice'
    result = 'SegResult'
    reader = 'MaskReader'
    keys = dict(class_groups=dict[str, Sequence[str]] | None)
    metric_keys = ('class_groups',)
    tta = ('flip',)
    places = True

    @classmethod
    def check_entry(cls, where: str, config: dict[str, Any]) -> None:
        """Refuse groups of classes that the task does not have."""
        for group, members in (config.get('class_groups') or {}).items():
            check_keys(
                dict.fromkeys(members),
                config['classes'],
                f'{where}.class_groups.{group}',
            )


@TASK_KINDS.register_module(name='reg')
class RegressionKind(TaskKind):
    """Numbers, such as age, a ratio or a severity score.

    The classes of an entry are the names of its targets.
    """

    name = 'reg'
    annotation = 'numbers'
    branch = 'regression'
    branch_type = 'RegressionBranch'
    metric = 'RegMetric'
    columns = (
        Column('Reg R2', 'R2'),
        Column('Reg Pearson', 'Pearson'),
        Column('Reg MAE', 'MAE', averaged=False),
    )
    class_metric = 'R2'
    curves = ('R2', 'Pearson')
    result = 'RegResult'
    reader = 'CsvValueReader'
    tta = ('flip',)
    normalize = CHEST_XRAY


@TASK_KINDS.register_module(name='ssl')
class SelfSupervisedKind(TaskKind):
    """Images without annotation: the backbone learns from them alone.

    Its one class stands for the pixels; where a reader of labels gives
    others, a metric may look at them, and nothing is learned of them.
    """

    name = 'ssl'
    annotation = 'nothing'
    branch = 'self_supervision'
    branch_type = 'MaskedImageBranch'
    metric = 'MaskedImageMetric'
    columns = (Column('SSL skill', 'skill'),)
    class_metric = 'skill'
    curves = ('skill',)
    result = 'SelfSupervisedResult'
    reader = 'ImageReader'
    defaults = dict(classes=('pixels',))
    normalize = CHEST_XRAY
    unlabelled = True

    @classmethod
    def check_entry(cls, where: str, config: dict[str, Any]) -> None:
        """Refuse classes without a reader of their labels."""
        reader = str(config['reader'].get('type')).rpartition('.')[2]
        own = tuple(config['classes']) != cls.defaults['classes']
        if own and reader == cls.reader:
            raise UserError(
                f'{where} has classes, of which {reader} reads no labels; '
                'remove them, or give a reader of labels for the metric '
                'that looks at them.'
            )


@TASK_KINDS.register_module(name='report')
class ReportKind(TaskKind):
    """Free text: a report, or answers to questions.

    The classes of an entry are the findings that are read out of the texts.
    """

    name = 'report'
    annotation = 'reports'
    branch = 'reporting'
    branch_type = 'ReportBranch'
    metric = 'ReportMetric'
    columns = (
        Column('Report F1', 'F1'),
        Column('Report BLEU-4', 'BLEU_4'),
        Column('Report ROUGE-L', 'ROUGE_L'),
        Column('Closed answers', 'closed'),
    )
    class_metric = 'F1'
    # answers to questions have no findings
    curves = ('F1', 'closed', 'BLEU_4')
    result = 'ReportResult'
    reader = 'CsvReportReader'
    keys = dict(terms=dict[str, Sequence[str]] | None, questions=bool)
    metric_keys = ('terms',)
    normalize = CHEST_XRAY

    @classmethod
    def check_entry(cls, where: str, config: dict[str, Any]) -> None:
        """Refuse mirror images."""
        if config.get('flip_prob'):
            raise UserError(
                f'{where}.flip_prob is {config["flip_prob"]}, but texts say '
                'left and right, which a mirror image swaps; remove it.'
            )
