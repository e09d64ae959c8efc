"""The phantom images of a raw dataset, with patients, studies and views."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from fx_mm.phantom.render import Phantom, plan_findings, render_phantom


@dataclass
class RawCase:
    """One image of a raw dataset of phantoms.

    Attributes:
        phantom (Phantom): The image and all that is known about it.
        findings (set[str]): Names of FINDINGS in the report of its study:
            those of all images of the study.
        split (str): Official split that it belongs to.
        key (str): 32 hexadecimal digits that no other image has.
        number (int): Its number in the dataset, from 1.
        patient (int): Number of the patient, from 1.
        study (int): Number of the study of this patient, from 1.
        view (int): Number of the image in its study, from 1.
        sex (str): 'M' or 'F'.
        age (int): Years.
        position (str): 'PA', 'AP' or 'LATERAL'.
    """

    phantom: Phantom
    findings: set[str]
    split: str
    key: str
    number: int
    patient: int
    study: int
    view: int
    sex: str
    age: int
    position: str

    def mask_pieces(self, finding: str) -> list[np.ndarray]:
        """Return the masks of the instances of a finding."""
        return [
            mask
            for (name, _), mask in zip(
                self.phantom.boxes, self.phantom.instances
            )
            if name == finding
        ]


def corner_and_size(box: Sequence[int]) -> list[int]:
    """Turn (x1, y1, x2, y2), the last two exclusive, into x, y, w, h."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


@dataclass(frozen=True)
class Stream:
    """Where the images come from: same stream, same images.

    Attributes:
        name (str): Name of the dataset's folder.
        hospital (str): Hospital of the phantoms.
        seed (int): Seed of all raw datasets.
        size (int): Width of the images in pixels.
        tall (bool): Whether images are higher than wide, by a quarter.
        bones (bool): Whether masks of the bones are needed.
        focus (str, optional): A finding that every third image shows and no
            other one. Defaults to None: all findings are as frequent.
    """

    name: str
    hospital: str
    seed: int
    size: int
    tall: bool = False
    bones: bool = False
    focus: str | None = None

    def draw(self, split: str, index: int) -> Phantom:
        """Render image ``index`` of a split."""
        source = (
            (self.seed << 32) + crc32(f'{self.name} {split}'.encode()),
            self.hospital,
            'train',
        )
        phantom = render_phantom(
            *source,
            self._find(source, index),
            size=self.size,
            bones=self.bones,
        )
        if not self.tall:
            return phantom
        rows = self.size // 4
        # Borders at one place would make all images look the same.
        above = index * 5 % (rows + 1)
        return _heighten(phantom, above, rows - above)

    def _find(self, source: tuple[int, str, str], index: int) -> int:
        """Return the number of the phantom that is an image of a split."""
        if self.focus is None:
            return index
        row, place = divmod(index, 3)
        shown = place == 0
        numbers = (
            number
            for number in itertools.count()
            if (self.focus in plan_findings(*source, number)) == shown
        )
        position = row if shown else 2 * row + place - 1
        return next(itertools.islice(numbers, position, None))


def _heighten(phantom: Phantom, above: int, below: int) -> Phantom:
    """Add black rows above and below."""

    def pad(image: np.ndarray) -> np.ndarray:
        return np.pad(image, ((above, below), (0, 0)))

    return replace(
        phantom,
        image=pad(phantom.image),
        masks={name: pad(mask) for name, mask in phantom.masks.items()},
        boxes=[
            (name, (x1, y1 + above, x2, y2 + above))
            for name, (x1, y1, x2, y2) in phantom.boxes
        ],
        instances=[pad(mask) for mask in phantom.instances],
        bones={name: pad(mask) for name, mask in phantom.bones.items()},
    )


def draw_cases(
    stream: Stream,
    counts: Mapping[str, int],
    several_studies: bool = False,
    laterals: bool = False,
    borrowed: tuple[Phantom, ...] = (),
) -> list[RawCase]:
    """Draw the images of a raw dataset.

    Args:
        stream (Stream): Where the images come from.
        counts (Mapping): Official split to its number of images.
        several_studies (bool): Whether patients have up to three studies.
            Defaults to False: each has one.
        laterals (bool): Whether studies have up to two images, the second
            one called lateral. Defaults to False: each has one.
        borrowed (tuple[Phantom]): Images of other datasets, which take the
            place of the first ones of the last split. Defaults to none.

    Returns:
        list[RawCase]: In the order of ``counts``; no patient is in two
        splits.
    """
    cases: list[RawCase] = []
    patient = 0
    for split, count in counts.items():
        rng = np.random.default_rng(
            [stream.seed, crc32(f'{stream.name} {split}'.encode())]
        )
        taken = borrowed if split == list(counts)[-1] else ()
        slots = _slots(rng, count, several_studies, laterals)
        for index, (newcomer, study, view, person) in enumerate(slots):
            patient += newcomer
            if index < len(taken):
                phantom = taken[index]
            else:
                phantom = stream.draw(split, index)
            cases.append(
                RawCase(
                    phantom=phantom,
                    findings={name for name, _ in phantom.boxes},
                    split=split,
                    key=rng.bytes(16).hex(),
                    number=len(cases) + 1,
                    patient=patient,
                    study=study,
                    view=view,
                    **person,
                )
            )
            if view > 1:
                # Both views of a study share one report, so one set.
                cases[-1].findings |= cases[-2].findings
                cases[-2].findings = cases[-1].findings
    return cases


def _slots(
    rng: np.random.Generator,
    count: int,
    several_studies: bool,
    laterals: bool,
) -> Iterator[tuple[bool, int, int, dict[str, Any]]]:
    """Yield (new patient?, study, view, person) of ``count`` images."""
    done = 0
    while done < count:
        sex, age = str(rng.choice(['M', 'F'])), int(rng.integers(18, 90))
        studies = int(rng.integers(1, 4)) if several_studies else 1
        newcomer = True
        for study in range(1, studies + 1):
            position = str(rng.choice(['PA', 'AP']))
            views = int(rng.integers(1, 3)) if laterals else 1
            for view in range(1, views + 1):
                person = dict(
                    sex=sex,
                    age=age + study - 1,
                    position=position if view == 1 else 'LATERAL',
                )
                if done < count:
                    yield newcomer, study, view, person
                done += 1
                newcomer = False
