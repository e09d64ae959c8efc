"""What the app answers: plain values of declared types, ready for JSON."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

NOTICE = 'For research. Not for diagnosis.'

Handle = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description='of a loaded image, from load_image or upload_image',
    ),
]
TaskNames = Annotated[
    list[str] | None,
    Field(max_length=100, description='task names; none: all of the kind'),
]
Score = Annotated[
    float,
    Field(ge=0, le=1, description='findings with a lower score are left out'),
]
Prior = Annotated[
    str | None,
    Field(max_length=64, description='handle of an earlier image'),
]
Base64 = Annotated[str, Field(description='the file, in base64')]
Text = Annotated[str, Field(max_length=1000)]


class Answer(TypedDict):
    """What every answer says.

    Attributes:
        model (str): Kind of model and the first digits of ``sha256``.
        checkpoint (str): File name of the checkpoint.
        sha256 (str): Of the checkpoint file.
        predict_on (str): Which model predicted, ``teacher`` or ``student``.
        notice (str): What it is not for.
    """

    model: str
    checkpoint: str
    sha256: str
    predict_on: str
    notice: str


class Figure(TypedDict):
    """A figure of a test, with its interval where one was computed.

    Attributes:
        name (str): Metric, with a class ``AUC/Nodule``.
        value (float, optional): None where it is undefined.
        low (float, optional): Lower end of the interval.
        high (float, optional): Upper end.
        split (str): The images that it is of: ``val``, ``test``.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    split: str


class Picture(TypedDict):
    """A picture, as PNG.

    Attributes:
        title (str): What it shows.
        uri (str): Of the MCP resource.
        url (str): Path on this server, for other programs.
    """

    title: str
    uri: str
    url: str


class TaskRow(TypedDict):
    """A task of the model; its headline figure, if it was tested."""

    task: str
    dataset: str
    kind: str
    classes: list[str]
    figure: Figure | None


class TaskList(Answer):
    """The tasks of the model."""

    tasks: list[TaskRow]


class ImageList(Answer):
    """Images below the root, of ``total`` at most the first ones."""

    images: list[str]
    total: int


class LoadedImage(Answer):
    """An image that later calls name by its handle.

    Attributes:
        image (str): The handle.
        name (str): Of the file.
        height (int): In pixels.
        width (int): In pixels.
        reading (dict): What was decided when it was read, with ``warnings``.
    """

    image: str
    name: str
    height: int
    width: int
    reading: dict[str, Any]


class Dropped(Answer):
    """An image that is no longer loaded."""

    dropped: str


class Label(TypedDict):
    """A class with its probability and the figure of its test."""

    name: str
    probability: float | None
    figure: Figure | None


class Number(TypedDict):
    """A target of a regression task, in its own unit."""

    name: str
    value: float | None
    std: float | None
    figure: Figure | None


class Labels(Answer):
    """Labels by task; the numbers of regression tasks likewise."""

    image: str
    labels: dict[str, list[Label]]
    numbers: dict[str, list[Number]]


class Box(TypedDict):
    """A box, x1, y1, x2, y2 in pixels of the image."""

    name: str
    score: float | None
    box: list[float]
    figure: Figure | None


class Boxes(Answer):
    """Boxes by task, and a picture of each task."""

    image: str
    boxes: dict[str, list[Box]]
    pictures: list[Picture]


class Mask(TypedDict):
    """A mask: its area in pixels, and 0 and 255 as a picture."""

    name: str
    area: int
    picture: Picture
    figure: Figure | None


class Masks(Answer):
    """Masks by task, and a picture of each task."""

    image: str
    masks: dict[str, list[Mask]]
    pictures: list[Picture]


class Evidence(TypedDict):
    """What one finding rests on."""

    task: str
    name: str
    score: float
    picture: Picture


class Explanation(Answer):
    """What findings of labels and boxes rest on."""

    image: str
    findings: list[Evidence]


class Measured(Answer):
    """Numbers of heart, lungs and findings.

    See docs/report.md for ``geometry``, ``sides``, ``measurements`` and
    ``findings``.
    """

    image: str
    geometry: dict[str, Any]
    sides: dict[str, Any]
    measurements: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    dropped_pieces: dict[str, int]


class Said(TypedDict):
    """A sentence and what it came from."""

    section: str
    text: str
    evidence: dict[str, Any]


class Report(Answer):
    """Sentences, and all of them as one text."""

    image: str
    prior: str | None
    sentences: list[Said]
    text: str


class Shift(TypedDict):
    """A label in both images."""

    task: str
    name: str
    now: float | None
    before: float | None


class Comparison(Answer):
    """What changed since a prior image, in sentences and numbers."""

    image: str
    prior: str
    same_patient: bool
    sentences: list[Said]
    labels: list[Shift]


class DatasetCard(Answer):
    """What the checkpoint says of a dataset that it learned from."""

    dataset: str
    tasks: list[TaskRow]
    settings: dict[str, Any]


class Figures(Answer):
    """All figures of a task; ``reason`` says why there are none."""

    task: str
    n_images: int | None
    figures: list[Figure]
    reason: str
