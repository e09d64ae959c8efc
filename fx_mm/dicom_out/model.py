"""Who made the results: the model, its version and its checkpoint."""

from dataclasses import dataclass
from typing import Any

import highdicom as hd
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from fx_mm.dicom_out.codes import to_text
from fx_mm.version import __version__

FAMILY = Code('123110', 'DCM', 'Artificial Intelligence')
MANUFACTURER = 'fx_mm'


@dataclass(frozen=True)
class Model:
    """The model that predicted, as results name it.

    Args:
        name (str): Of the architecture, such as ``FoundationX``.
        checkpoint (str): Name of the file.
        digest (str): SHA-256 of its bytes, in hexadecimal digits.
        predict_on (str): ``teacher`` or ``student``.
        score_thr (float): Boxes with a lower score were left out.
    """

    name: str
    checkpoint: str
    digest: str
    predict_on: str
    score_thr: float

    @property
    def version(self) -> str:
        """str: Of fx_mm, with the start of the checkpoint's hash."""
        return f'{__version__}+{self.digest[:16]}'

    @property
    def parameters(self) -> dict[str, str]:
        """dict: What else the predictions depend on."""
        return dict(
            checkpoint=to_text(self.checkpoint),
            sha256=self.digest,
            predict_on=self.predict_on,
            score_thr=f'{self.score_thr:g}',
        )

    @property
    def equipment(self) -> dict[str, Any]:
        """dict: Arguments of every result of highdicom."""
        return dict(
            manufacturer=MANUFACTURER,
            manufacturer_model_name=to_text(self.name),
            software_versions=__version__,
            device_serial_number=self.digest[:16],
        )

    @property
    def algorithm(self) -> hd.AlgorithmIdentificationSequence:
        """AlgorithmIdentificationSequence: For segments."""
        return hd.AlgorithmIdentificationSequence(
            name=to_text(f'{MANUFACTURER} {self.name}'),
            family=FAMILY,
            version=self.version,
            source=MANUFACTURER,
            parameters=self.parameters,
        )

    @property
    def uid(self) -> str:
        """str: The same for the same checkpoint."""
        return generate_uid(entropy_srcs=[self.digest])
