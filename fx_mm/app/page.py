"""The page, and the HTTP API beside it; both on Gradio."""

import contextlib
import functools
import html
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

# Gradio reads it when it is imported: nothing is told to anybody.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'

import gradio as gr
from gradio.events import Dependency

from fx_mm.app.answers import NOTICE
from fx_mm.app.in_order import InOrder
from fx_mm.app.service import MOST_NAMES, ChestService
from fx_mm.app.viewer import bar, figure_text, picture, table, view
from fx_mm.utils.errors import UserError
from fx_mm.visualization.results import SCORE_THR

FILES = ['.png', '.jpg', '.jpeg', '.dcm', '.dicom', '.tif', '.tiff', '.mha']
FONT = ['system-ui', 'sans-serif']
THEME = gr.themes.Default(font=FONT, font_mono=['monospace'])
"""Fonts of the machine: none is fetched from elsewhere."""
CHOSEN = 'choose an image, or drop one'


class Page:
    """What the page shows of the service's answers, as HTML.

    Args:
        service (ChestService): The functions.
    """

    def __init__(self, service: ChestService) -> None:
        self.service = service

    def open(self, name: str | None, upload: str | None) -> str:
        """Load what was dropped, else what was chosen; return its handle.

        What was dropped is deleted once it is read.

        Raises:
            UserError: If there is neither.
        """
        if upload:
            path = Path(upload)
            try:
                with path.open('rb') as file:
                    content = file.read(self.service.images.max_bytes + 1)
                path.unlink()
            except OSError:
                raise UserError(
                    'the file is no longer here; drop it again.'
                ) from None
            return self.service.images.add(path.name, content).handle
        if not name:
            raise UserError(f'{CHOSEN}.')
        return self.service.images.load(name).handle

    def show(
        self, name: str | None, upload: str | None
    ) -> tuple[str, str, str]:
        """Return the handle, the image with its layers, and the tables."""
        handle = self.open(name, upload)
        loaded = self.service.images.get(handle)
        return handle, view(loaded.result, SCORE_THR), self.findings(handle)

    def forget(self, *handles: str | None) -> None:
        """Drop images that are no longer shown."""
        for handle in handles:
            # it may be gone already
            with contextlib.suppress(UserError):
                self.service.images.drop(handle or '')

    def findings(self, handle: str) -> str:
        """Return labels, numbers and boxes with the figures of their tests."""
        loaded = self.service.images.get(handle)
        parts = []
        warnings = (loaded.result.reading or {}).get('warnings') or []
        parts += [f'<p>{html.escape(each)}</p>' for each in warnings]
        found = self.service.classify(handle)
        for task, labels in found['labels'].items():
            rows = [
                (
                    html.escape(each['name']),
                    bar(each['probability']),
                    figure_text(each['figure']),
                )
                for each in labels
            ]
            parts.append(_titled(task, ('label', 'probability'), rows))
        for task, numbers in found['numbers'].items():
            rows = [
                (
                    html.escape(each['name']),
                    _number(each['value']),
                    figure_text(each['figure']),
                )
                for each in numbers
            ]
            parts.append(_titled(task, ('target', 'value'), rows))
        for task, boxes in self.service.locate(handle)['boxes'].items():
            rows = [
                (
                    html.escape(each['name']),
                    bar(each['score']),
                    figure_text(each['figure']),
                )
                for each in boxes
            ]
            least = f'box from {SCORE_THR:g}'
            parts.append(_titled(task, (least, 'score'), rows))
        return ''.join(parts)

    def explain(self, handle: str | None) -> str:
        """Return pictures of what findings rest on."""
        handle = _shown(handle)
        found = self.service.explain(handle)['findings']
        pictures = self.service.images.get(handle).pictures
        shown = [
            f'<h4>{html.escape(each["task"])}: {html.escape(each["name"])} '
            f'{each["score"]:.2f}</h4>'
            + picture(
                pictures[Path(each['picture']['url']).stem],
                each['picture']['title'],
            )
            for each in found
        ]
        text = ''.join(shown) or f'<p>No finding from {SCORE_THR:g}.</p>'
        return f'<div class="fx-pictures">{text}</div>'

    def report(self, handle: str | None) -> str:
        """Return the report and the measurements."""
        handle = _shown(handle)
        text = self.service.report(handle)['text']
        rows = [
            (
                html.escape(f'{each["task"]}: {each["quantity"]}'),
                html.escape(
                    each['reason']
                    or f'{_number(each["value"])} {each["unit"]}'
                ),
            )
            for each in self.service.measure(handle)['measurements']
        ]
        measured = table(('measurement', 'value'), rows) if rows else ''
        return _paragraphs(text) + measured

    def compare(
        self,
        handle: str | None,
        name: str | None,
        upload: str | None,
    ) -> tuple[str, str, str]:
        """Return the prior's handle, the prior, and what changed."""
        handle = _shown(handle)
        prior = self.open(name, upload)
        found = self.service.compare(handle, prior)
        said = '\n'.join(each['text'] for each in found['sentences'])
        rows = [
            (
                html.escape(f'{each["task"]}: {each["name"]}'),
                bar(each['before']),
                bar(each['now']),
            )
            for each in found['labels']
        ]
        labels = table(('label', 'prior', 'now'), rows) if rows else ''
        loaded = self.service.images.get(prior)
        shown = view(loaded.result, SCORE_THR)
        return prior, shown, _paragraphs(said) + labels


def build_page(
    service: ChestService, in_order: InOrder, seconds_kept: int = 600
) -> gr.Blocks:
    """Build the page and the HTTP API.

    Args:
        service (ChestService): The functions.
        in_order (InOrder): Runs them in turn.
        seconds_kept (int): After which what was dropped and not read is
            deleted. Defaults to 600.
    """
    page = Page(service)
    head = service.head
    names = service.images.names()[:MOST_NAMES]
    kept = (60, seconds_kept)
    with gr.Blocks(
        title='fx_mm', fill_width=True, delete_cache=kept
    ) as blocks:
        gr.HTML(
            f'<p class="fx-notice">{html.escape(NOTICE)}</p><p>'
            f'{html.escape(head["model"])}, {html.escape(head["checkpoint"])}'
            f', {html.escape(head["predict_on"])}. '
            f'{html.escape(service.figures.reason)}</p>'
        )
        shown, prior = gr.State(), gr.State()
        with gr.Row():
            with gr.Column(scale=1):
                chosen, dropped = _inputs('Image', names)
                show = gr.Button('Show', variant='primary')
                before, before_dropped = _inputs('Prior image', names)
            with gr.Column(scale=2):
                image = gr.HTML(elem_id='fx-image')
            with gr.Column(scale=2), gr.Tabs():
                with gr.Tab('Findings'):
                    findings = gr.HTML(elem_id='fx-findings')
                with gr.Tab('Explanation'):
                    explain = gr.Button('Explain')
                    evidence = gr.HTML(elem_id='fx-evidence')
                with gr.Tab('Report'):
                    write = gr.Button('Measure and report')
                    report = gr.HTML(elem_id='fx-report')
                with gr.Tab('Comparison'):
                    compare = gr.Button('Compare with the prior image')
                    changes = gr.HTML(elem_id='fx-changes')
                    before_image = gr.HTML(elem_id='fx-prior')
        # first everything of the former image goes: if this one cannot be
        # read, nothing of another stands there
        texts = [image, findings, evidence, report, changes, before_image]
        _then(
            _clear(show, page, in_order, [shown, prior], texts),
            _event(in_order(page.show)),
            [chosen, dropped],
            [shown, image, findings],
        ).then(lambda: None, outputs=dropped, api_visibility='private')
        _then(
            _clear(explain, page, in_order, [], [evidence]),
            *(_event(in_order(page.explain)), [shown], [evidence]),
        )
        _then(
            _clear(write, page, in_order, [], [report]),
            *(_event(in_order(page.report)), [shown], [report]),
        )
        _then(
            _clear(compare, page, in_order, [prior], [changes, before_image]),
            _event(in_order(page.compare)),
            [shown, before, before_dropped],
            [prior, before_image, changes],
        ).then(lambda: None, outputs=before_dropped, api_visibility='private')
        # Gradio loses a file that comes before its page has connected, and
        # the field with it; once this was called it has
        fields = [dropped, before_dropped]
        blocks.load(
            lambda: [gr.File(interactive=True) for _ in fields],
            outputs=fields,
            api_visibility='private',
        )
        for tool in service.tools():
            api = _event(in_order(tool), on_page=False)
            gr.api(api, api_name=tool.__name__)
    # the order and the limits are ours
    return blocks.queue(default_concurrency_limit=None)


def _inputs(title: str, names: list[str]) -> tuple[gr.Dropdown, gr.File]:
    chosen = gr.Dropdown(names, value=None, label=f'{title} of the folder')
    dropped = gr.File(
        label=f'{title}: drop a file',
        file_types=FILES,
        height=140,
        interactive=False,
        elem_id=f'fx-file-of-{title.lower().replace(" ", "-")}',
    )
    return chosen, dropped


def _clear(
    button: gr.Button,
    page: Page,
    in_order: InOrder,
    states: list[gr.State],
    texts: list[gr.HTML],
) -> Dependency:
    """Let a button empty texts and forget images first."""
    forget = in_order(page.forget)

    async def clear(*handles: str | None) -> list[str | None]:
        await forget(*handles)
        return [*(None for _ in states), *('' for _ in texts)]

    return button.click(
        _event(clear), states, [*states, *texts], api_visibility='private'
    )


def _then(
    before: Dependency,
    function: Callable[..., Awaitable[Any]],
    inputs: list[Any],
    outputs: list[Any],
) -> Dependency:
    return before.then(function, inputs, outputs, api_visibility='private')


def _event(
    function: Callable[..., Awaitable[Any]], on_page: bool = True
) -> Callable[..., Awaitable[Any]]:
    """Return a function whose UserError Gradio shows as a message."""

    @functools.wraps(function)
    async def handle(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except UserError as error:
            # the page takes it for HTML, the HTTP API for text
            text = html.escape(str(error)) if on_page else str(error)
            raise gr.Error(text, print_exception=False) from None

    return handle


def _shown(handle: str | None) -> str:
    if not handle:
        raise UserError('show an image first.')
    return handle


def _titled(
    task: str, header: tuple[str, str], rows: list[tuple[str, str, str]]
) -> str:
    content = table((*header, 'figure of the test'), rows)
    if not rows:
        content = f'<p>no {html.escape(header[0])}</p>'
    return f'<h4>{html.escape(task)}</h4>{content}'


def _number(value: float | None) -> str:
    return 'undefined' if value is None else f'{value:.4g}'


def _paragraphs(text: str) -> str:
    lines = html.escape(text).replace('\n', '<br>')
    return f'<p>{lines}</p>'
