"""The page, and the HTTP API beside it; both on Gradio."""

import functools
import html
import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

# Gradio reads it when it is imported: nothing is told to anybody.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'

import gradio as gr

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
            with path.open('rb') as file:
                content = file.read(self.service.images.max_bytes + 1)
            path.unlink()
            return self.service.images.add(path.name, content).handle
        if not name:
            raise UserError(f'{CHOSEN}.')
        return self.service.images.load(name).handle

    def show(
        self, name: str | None, upload: str | None, old: str | None
    ) -> tuple[str, str, str]:
        """Return the handle, the image with its layers, and the tables."""
        handle = self.open(name, upload)
        self.forget(old)
        loaded = self.service.images.get(handle)
        return handle, view(loaded.result, SCORE_THR), self.findings(handle)

    def forget(self, handle: str | None) -> None:
        """Drop an image that is no longer shown."""
        try:
            if handle:
                self.service.images.drop(handle)
        except UserError:  # gone already
            pass

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
            title = (f'box from {SCORE_THR:g}', 'score')
            parts.append(_titled(task, title, rows))
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
        old: str | None,
    ) -> tuple[str, str, str]:
        """Return the prior's handle, the prior, and what changed."""
        handle = _shown(handle)
        prior = self.open(name, upload)
        self.forget(old)
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
    service: ChestService, in_order: InOrder, seconds_kept: int = 60
) -> gr.Blocks:
    """Build the page and the HTTP API.

    Args:
        service (ChestService): The functions.
        in_order (InOrder): Runs them in turn.
        seconds_kept (int): After which what was dropped and not read is
            deleted. Defaults to 60.
    """
    page = Page(service)
    head = service.head
    names = service.images.names()[:MOST_NAMES]
    kept = (seconds_kept, seconds_kept)
    with gr.Blocks(title='fx_mm', delete_cache=kept) as blocks:
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
        show.click(
            _event(in_order(page.show)),
            [chosen, dropped, shown],
            [shown, image, findings],
            api_visibility='private',
        ).then(
            lambda: (None, '', '', '', ''),
            outputs=[dropped, evidence, report, changes, before_image],
            api_visibility='private',
        )
        explain.click(
            *(_event(in_order(page.explain)), shown, evidence),
            api_visibility='private',
        )
        write.click(
            *(_event(in_order(page.report)), shown, report),
            api_visibility='private',
        )
        compare.click(
            _event(in_order(page.compare)),
            [shown, before, before_dropped, prior],
            [prior, before_image, changes],
            api_visibility='private',
        ).then(
            lambda: None, outputs=before_dropped, api_visibility='private'
        )
        for tool in service.tools():
            gr.api(_event(in_order(tool)), api_name=tool.__name__)
    # the order and the limits are ours
    return blocks.queue(default_concurrency_limit=None)


def _inputs(title: str, names: list[str]) -> tuple[gr.Dropdown, gr.File]:
    chosen = gr.Dropdown(names, value=None, label=f'{title} of the folder')
    return chosen, gr.File(label=f'{title}: drop a file', file_types=FILES)


def _event(
    function: Callable[..., Awaitable[Any]],
) -> Callable[..., Awaitable[Any]]:
    """Return a function whose UserError Gradio shows as a message."""

    @functools.wraps(function)
    async def handle(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except UserError as error:
            raise gr.Error(html.escape(str(error)), print_exception=False)

    assert inspect.iscoroutinefunction(handle)
    return handle


def _shown(handle: str | None) -> str:
    if not handle:
        raise UserError('show an image first.')
    return handle


def _titled(
    task: str, header: tuple[str, str], rows: list[tuple[str, str, str]]
) -> str:
    content = table((*header, 'figure of the test'), rows)
    return f'<h4>{html.escape(task)}</h4>{content if rows else "<p>none</p>"}'


def _number(value: float | None) -> str:
    return 'undefined' if value is None else f'{value:.4g}'


def _paragraphs(text: str) -> str:
    lines = html.escape(text).replace('\n', '<br>')
    return f'<p>{lines}</p>'
