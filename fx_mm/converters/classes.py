"""Classes of the authors' heads, whose checkpoints store no names."""

from collections.abc import Mapping, Sequence
from typing import Any

from fx_mm.tasks import Kind, Task
from fx_mm.utils.errors import UserError

_CHESTX_DET = (
    'Atelectasis', 'Calcification', 'Cardiomegaly', 'Consolidation',
    'Diffuse Nodule', 'Effusion', 'Emphysema', 'Fibrosis', 'Fracture', 'Mass',
    'Nodule', 'Pleural Thickening', 'Pneumothorax',
)  # fmt: skip
CLASSES = dict(
    tbx11k=('Tuberculosis',),
    node21=('Nodule',),
    candid_ptx=('Pneumothorax',),
    rsna=('Normal', 'No Lung Opacity/Not Normal', 'Lung Opacity'),
    chestx_det=_CHESTX_DET,
    siim_acr=('Pneumothorax',),
    chexpert=(
        'No Finding', 'Enlarged Cardiomediastinum', 'Cardiomegaly',
        'Lung Opacity', 'Lung Lesion', 'Edema', 'Consolidation', 'Pneumonia',
        'Atelectasis', 'Pneumothorax', 'Pleural Effusion', 'Pleural Other',
        'Fracture', 'Support Devices',
    ),
    nih14=(
        'Atelectasis', 'Cardiomegaly', 'Effusion', 'Infiltration', 'Mass',
        'Nodule', 'Pneumonia', 'Pneumothorax', 'Consolidation', 'Edema',
        'Emphysema', 'Fibrosis', 'Pleural_Thickening', 'Hernia',
    ),
    vindr_cxr=(
        'PE', 'Lung tumor', 'Pneumonia', 'Tuberculosis', 'Other diseases',
        'No finding',
    ),
    shenzhen=('TB',),
    mimic_cxr=(
        'Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema',
        'Enlarged Cardiomediastinum', 'Fracture', 'Lung Lesion',
        'Lung Opacity', 'No Finding', 'Pleural Effusion', 'Pleural Other',
        'Pneumonia', 'Pneumothorax', 'Support Devices',
    ),
    covidx=('normal', 'pneumonia', 'COVID-19'),
)  # fmt: skip
"""Classes by dataset, in the order of the outputs of a classification head.

The authors' lists name the outputs of mimic_cxr in CheXpert's order, but
their code reads the columns of its table as they come: alphabetically. On
predictions that they published, an output of that head agrees with CheXpert's
of the same alphabetical name (correlation 0.89) and not with the listed one
(0.28). A notebook of theirs swaps the first two classes of rsna; their lists
and predictions have them as here.
"""
BOX_CLASSES = dict(
    {
        name: CLASSES[name]
        for name in (
            'tbx11k', 'node21', 'candid_ptx', 'chestx_det', 'siim_acr',
        )
    },
    rsna=('Lung Opacity',),
)  # fmt: skip
MASK_CLASSES = {
    name: CLASSES[name] for name in ('candid_ptx', 'chestx_det', 'siim_acr')
}

ARK_6 = ('mimic_cxr', 'chexpert', 'nih14', 'rsna', 'vindr_cxr', 'shenzhen')
ARK_ORDERS = (ARK_6, ARK_6[1:], (*ARK_6, 'covidx'))
"""Datasets of Ark's heads as published: Ark-6 and Ark+, Ark-5, with COVIDx."""


def order_ark_heads(
    widths: Sequence[int], datasets: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Return the dataset of each of Ark's heads.

    Args:
        widths (Sequence[int]): Number of outputs of each head.
        datasets (Sequence[str], optional): The datasets, where they are not
            the published ones in the published order. Defaults to None.

    Returns:
        tuple[str]: One dataset per head.

    Raises:
        UserError: If the numbers do not fit.
    """
    found = f'{len(widths)} heads with {", ".join(map(str, widths))} outputs'
    if datasets is None:
        for order in ARK_ORDERS:
            if [len(CLASSES[name]) for name in order] == [*widths]:
                return order
        raise UserError(
            f'The checkpoint has {found}, which are not those of a published '
            'Ark; name the dataset of each head in its order with --datasets.'
        )
    if len(set(datasets)) != len(datasets) or len(datasets) != len(widths):
        raise UserError(
            f'--datasets names {", ".join(datasets)}, but the checkpoint has '
            f'{found}; name each once, in the order of the heads.'
        )
    for name, width in zip(datasets, widths):
        if name in CLASSES and len(CLASSES[name]) != width:
            raise UserError(
                f'--datasets gives {name}, which has {len(CLASSES[name])} '
                f'classes, to a head with {width} outputs; the checkpoint has '
                f'{found}.'
            )
    return tuple(datasets)


def describe_heads(
    classes: Mapping[Kind, Mapping[str, tuple[str, ...]]],
) -> list[dict[str, Any]]:
    """Return heads as the list of tasks in a checkpoint's meta.

    Args:
        classes (Mapping): Kind to dataset to the classes of the head.
    """
    return [
        Task(dataset, kind, names).meta
        for kind, heads in classes.items()
        for dataset, names in heads.items()
    ]
