"""Which classes of a dataset a drawn finding stands for.

A phantom knows six findings. Where a dataset has a class of the same name,
the class is that finding; every other class stands for findings that look
alike or go along with it, so that each class of each dataset has images with
and without it.

+------------------+------------------------------------------------------+
| finding          | classes                                              |
+==================+======================================================+
| Nodule           | Nodule, Nodule/Mass, Lung Lesion, Calcification,     |
|                  | Diffuse Nodule, Lung cyst, Other lesion, Lung tumor, |
|                  | Tuberculosis, Fracture (also of rib or clavicle)     |
+------------------+------------------------------------------------------+
| Mass             | Mass, Nodule/Mass, Lung Lesion, Lung Opacity, Lung   |
|                  | cavity, Lung tumor, Other diseases, Hernia           |
+------------------+------------------------------------------------------+
| Consolidation    | Consolidation, Lung Opacity, Infiltration, ILD,      |
|                  | Pneumonia, Tuberculosis, (Pulmonary) Fibrosis        |
+------------------+------------------------------------------------------+
| Pleural effusion | (Pleural) Effusion, Atelectasis, Edema, Pleural      |
|                  | Thickening, Pleural Other                            |
+------------------+------------------------------------------------------+
| Pneumothorax     | Pneumothorax, Emphysema, COPD, Mediastinal shift,    |
|                  | Support Devices                                      |
+------------------+------------------------------------------------------+
| Cardiomegaly     | Cardiomegaly, Enlarged Cardiomediastinum, Aortic     |
|                  | enlargement, Enlarged PA, Edema                      |
+------------------+------------------------------------------------------+
| none             | No Finding, Normal                                   |
+------------------+------------------------------------------------------+

Where classes exclude each other, the first that applies is taken:

- RSNA: Lung Opacity (consolidation or mass), Normal (no finding), No Lung
  Opacity / Not Normal (the rest);
- COVIDx: pneumonia (consolidation), COVID-19 (nodule, mass or effusion),
  normal (the rest);
- TBX11K: tb (consolidation, which is called active, nodule obsolete, mass
  pulmonary tuberculosis), health (no finding), sick (the rest).

No image of a phantom is lateral; views that a table calls lateral are frontal
images, too.
"""

from collections.abc import Collection
from zlib import crc32

_LESIONS = ('Nodule', 'Mass')
_MEANINGS = {
    'aortic enlargement': ('Cardiomegaly',),
    'atelectasis': ('Pleural effusion',),
    'calcification': ('Nodule',),
    'cardiomegaly': ('Cardiomegaly',),
    'clavicle fracture': ('Nodule',),
    'consolidation': ('Consolidation',),
    'copd': ('Pneumothorax',),
    'diffuse nodule': ('Nodule',),
    'edema': ('Pleural effusion', 'Cardiomegaly'),
    'effusion': ('Pleural effusion',),
    'emphysema': ('Pneumothorax',),
    'enlarged cardiomediastinum': ('Cardiomegaly',),
    'enlarged pa': ('Cardiomegaly',),
    'fibrosis': ('Consolidation',),
    'fracture': ('Nodule',),
    'hernia': ('Mass',),
    'ild': ('Consolidation',),
    'infiltration': ('Consolidation',),
    'lung cavity': ('Mass',),
    'lung cyst': ('Nodule',),
    'lung lesion': _LESIONS,
    'lung opacity': ('Consolidation', 'Mass'),
    'lung tumor': _LESIONS,
    'mass': ('Mass',),
    'mediastinal shift': ('Pneumothorax',),
    'nodule': ('Nodule',),
    'nodule/mass': _LESIONS,
    'other diseases': ('Mass',),
    'other lesion': ('Nodule',),
    'pleural effusion': ('Pleural effusion',),
    'pleural other': ('Pleural effusion',),
    'pleural thickening': ('Pleural effusion',),
    'pneumonia': ('Consolidation',),
    'pneumothorax': ('Pneumothorax',),
    'pulmonary fibrosis': ('Consolidation',),
    'rib fracture': ('Nodule',),
    'support devices': ('Pneumothorax',),
    'tuberculosis': ('Consolidation', 'Nodule'),
}
_NORMAL = ('no finding', 'normal')


def means(class_name: str, findings: Collection[str]) -> bool:
    """Return whether an image with these findings is positive for a class.

    Args:
        class_name (str): A class of a dataset, in its own spelling.
        findings (Collection[str]): Names of FINDINGS.
    """
    key = class_name.lower().replace('_', ' ')
    if key in _NORMAL:
        return not findings
    return any(name in findings for name in _MEANINGS[key])


def report_label(
    class_name: str, findings: Collection[str], key: str
) -> float | None:
    """Write a label as the labeler of CheXpert does, with doubts and gaps.

    Args:
        class_name (str): The class.
        findings (Collection[str]): Names of FINDINGS.
        key (str): What the draw depends on, such as the study's name.

    Returns:
        float | None: 1.0; -1.0 (uncertain) for a fifth of the positive
        labels; 0.0 or, in two of three cases, None (blank) for negative
        ones. "No Finding" is 1.0 or blank.
    """
    draw = crc32(f'{key} {class_name}'.encode())
    if means(class_name, findings):
        doubtful = class_name != 'No Finding' and draw % 5 == 0
        return -1.0 if doubtful else 1.0
    return 0.0 if class_name != 'No Finding' and draw % 3 == 0 else None
