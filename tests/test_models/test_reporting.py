"""The branch of reports: vocabulary, loss, writing, locks."""

import io

import model_helpers as h
import pytest
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from fx_mm.datasets import Records
from fx_mm.models.branches import reporting
from fx_mm.models.layers.latent_resampler import LatentResampler
from fx_mm.models.layers.report_tokenizer import (
    ANSWER,
    END,
    PAD,
    SMALLEST,
    START,
    ReportTokenizer,
)
from fx_mm.models.layers.text_attention import Attention
from fx_mm.models.layers.text_decoder import TextDecoder
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task, find_kind
from fx_mm.utils.errors import UserError

TEXTS = [
    'There is a nodule. No effusion is seen.',
    'No nodule. A small effusion on the left.',
    'A mass. The heart is enlarged.',
    'The lungs are clear.',
]
TASKS = (
    Task('a', 'report', h.FINDINGS),
    Task('b', 'report', h.FINDINGS, config=dict(questions=True)),
    Task('a', 'cls', h.FINDINGS),
)
SMALL = dict(dims=16, heads=2, layers=2, latents=3, vocabulary=300)
REPORTING = {'student.reporting': dict(SMALL, max_tokens=40)}


def records(texts=TEXTS, **columns):
    names = [str(i) for i in range(len(texts))]
    return Records.of_columns(img_id=names, gt_report=texts, **columns)


@pytest.fixture(scope='module')
def shared_model():
    model = h.build(tasks=TASKS, noise=0.02, **REPORTING)
    for part in (model.student, model.teacher):
        part.reporting.take_statistics(TASKS[0], records())
        asked = ['What is there?'] * len(TEXTS)
        part.reporting.take_statistics(TASKS[1], records(question=asked))
    return model


@pytest.fixture
def model(shared_model):
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    return shared_model


def batch(task='a/report', **kwargs):
    return h.batch(task, tasks=TASKS, **kwargs)


# ------------------------------------------------------------------ an image


def test_of_an_empty_report_the_end_is_learned(model):
    inputs, samples = batch()
    for sample in samples:
        sample.gt_report = ''
    losses = model.student(inputs, samples, mode='loss')
    assert losses['loss_report'].isfinite()
    losses['loss_report'].backward()
    found = model.student.reporting.tokens('a', samples)
    assert found.inputs.tolist() == [[START]] * 2
    assert found.target.tolist() == [[END]] * 2


@pytest.mark.parametrize('task', ['a/report', 'b/report'])
def test_gradients_reach_what_is_shared_and_its_own_alone(model, task):
    inputs, samples = batch(task)
    model.student(inputs, samples, mode='loss')['loss_report'].backward()
    own, other = task[0], 'ab'.replace(task[0], '')
    with_gradient = {
        name
        for name, p in model.student.named_parameters()
        if p.grad is not None
    }
    assert any(name.startswith('backbone') for name in with_gradient)
    for name, _ in model.student.reporting.named_parameters(
        prefix='reporting'
    ):
        theirs = name.startswith(f'reporting.decoders.{other}.')
        assert (name in with_gradient) is not theirs, name
    assert f'reporting.decoders.{own}.embedding' in with_gradient


@pytest.mark.parametrize('shape', [(64, 64), (96, 64)])
@pytest.mark.parametrize('beams', [1, 3])
def test_texts_of_images_of_any_size(model, shape, beams):
    model.eval()
    branch = model.student.reporting
    inputs, samples = h.rectangle('b/report', shape, tasks=TASKS)
    branch.beams = beams
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = model.student.predict(inputs, samples)
    branch.beams = 1
    assert all(isinstance(sample.pred_report, str) for sample in found)


def test_a_lock_pass_teaches_the_decoder_alone(model):
    student = model.student
    student.lock(student.freeze_plan('a/report', 'lock'))
    trained = {n for n, p in student.named_parameters() if p.requires_grad}
    assert not any(name.startswith('reporting.resampler') for name in trained)
    assert any(name.startswith('reporting.decoders.a') for name in trained)


def test_consistency_is_on_the_latents(model):
    inputs, samples = batch()
    ((latents,),) = model.student.features(inputs, samples)
    assert latents.shape == (2, 3, 16) and latents.requires_grad


def test_a_task_of_questions_needs_one(model):
    model.eval()
    inputs, samples = batch('b/report')
    samples[0].question = ''
    with pytest.raises(UserError, match='b/report answers questions; ask one'):
        model.student.predict(inputs, samples)


def test_text_is_not_exported(model):
    with pytest.raises(UserError, match='cannot be exported'):
        model.student.reporting.graph({}, 'a', [])


@pytest.mark.parametrize(
    'option, value, text',
    [
        ('dims', 18, 'multiple of twice the heads'),
        ('vocabulary', 100, 'vocabulary'),
        ('beams', 0, 'beams'),
        ('term_weight', -1.0, 'term_weight'),
    ],
)
def test_options_that_make_no_sense(option, value, text):
    options = {**SMALL, option: value}
    with pytest.raises(UserError, match=text):
        MODELS.build(
            dict(
                type='ReportBranch',
                in_channels=(8, 8, 8, 8),
                tasks=TASKS[:1],
                **options,
            )
        )


# --------------------------------------------------------------- terms, loss


def test_terms_weigh_three_times_in_the_loss(model):
    """Against a loss that is written out token by token."""
    model.eval()
    branch = model.student.reporting
    inputs, samples = batch()
    samples[0].gt_report, samples[1].gt_report = TEXTS[0], TEXTS[3]
    state = branch.encode(model.student.extract_feat(inputs), samples)
    found = branch.loss(state, 'a', samples)['loss_report']
    total = weight = 0.0
    decoder = branch.decoders['a']
    for row, sample in enumerate(samples):
        text = sample.gt_report
        ids, places = decoder.tokenizer.encode(text)
        marked = set()
        for name in ('nodule', 'effusion'):
            start = text.find(name)
            marked |= (
                set(range(start, start + len(name))) if start >= 0 else set()
            )
        latents = state['latents'][row : row + 1]
        logits = decoder(torch.tensor([[START, *ids]]), latents)[0]
        for step, wanted in enumerate([*ids, END]):
            spot = set(range(*places[step])) if step < len(ids) else set()
            counts = 3.0 if spot & marked else 1.0
            total += counts * F.cross_entropy(
                logits[step], torch.tensor(wanted), label_smoothing=0.1
            )
            weight += counts
    assert found.item() == pytest.approx((total / weight).item(), rel=1e-5)
    branch.term_weight = 1.0
    assert branch.loss(state, 'a', samples)['loss_report'] != found
    branch.term_weight = 3.0


def test_which_tokens_are_terms(model):
    branch = model.student.reporting
    _, (sample, _) = batch()
    sample.gt_report = 'No nodule, no heart.'
    found = branch.tokens('a', [sample])
    heavy = found.target[0][found.weights[0] == 3.0].tolist()
    assert branch.decoders['a'].tokenizer.decode(heavy).strip() == 'nodule'


def test_questions_are_read_and_not_learned(model):
    branch = model.student.reporting
    _, (sample, _) = batch('b/report')
    inputs, target, weights = branch.tokens('b', [sample])
    place = inputs[0].tolist().index(ANSWER)
    assert (weights[0, :place] == 0).all() and (weights[0, place:] > 0).all()
    decode = branch.decoders['b'].tokenizer.decode
    assert decode(inputs[0, 1:place].tolist()) == sample.question
    assert decode(target[0, place:].tolist()) == sample.gt_report


def test_texts_that_are_too_long_are_cut_and_counted(model, monkeypatch):
    branch = model.student.reporting
    _, samples = batch()
    samples[0].gt_report = 'xyz ' * 100
    found = branch.tokens('a', samples)
    assert found.inputs.shape == (2, 39) and END not in found.target[0]
    said = []
    monkeypatch.setattr(
        reporting, 'log_once', lambda text, level: said.append(text)
    )
    merges = branch.decoders['a'].tokenizer.merges.clone()
    branch.take_statistics(TASKS[0], records([*TEXTS, 'a!b?c-d' * 40]))
    assert '1 of 5 training texts are longer than max_tokens=40' in said[0]
    branch.take_statistics(TASKS[0], records())
    assert len(said) == 1
    assert torch.equal(branch.decoders['a'].tokenizer.merges, merges)


def test_findings_that_no_training_text_states_are_named(model, monkeypatch):
    branch = model.student.reporting
    said = []
    monkeypatch.setattr(
        reporting, 'log_once', lambda text, level: said.append(text)
    )
    branch.take_statistics(TASKS[0], records(TEXTS[1:]))
    assert 'none of 3 training texts states nodule; if' in said.pop()
    branch.take_statistics(TASKS[0], records(['The lungs are clear.'] * 3))
    assert 'states nodule, effusion, mass; if' in said.pop()
    branch.take_statistics(TASKS[0], records())
    asked = dict(question=['Is there a nodule?'])
    branch.take_statistics(TASKS[1], records(['No.'], **asked))
    assert not said


# ----------------------------------------------------------------- vocabulary


def learned(size=300, texts=TEXTS):
    tokenizer = ReportTokenizer(size)
    tokenizer.learn(texts)
    return tokenizer


@pytest.mark.parametrize(
    'text', ['', 'A nodule.', 'Ödem, 3 mm — 日本', '\0pad', '  two  blanks ']
)
def test_any_text_comes_back(text):
    for tokenizer in (learned(), ReportTokenizer(SMALLEST)):
        ids, places = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(ids) == len(places)
        assert min(ids, default=END + 2) > ANSWER


def test_frequent_text_becomes_few_tokens():
    tokenizer = learned()
    assert len(tokenizer.encode(TEXTS[0])[0]) < len(TEXTS[0]) / 2
    assert tokenizer.known <= 300
    # more than there is to learn
    assert learned(2000).known < 2000


def test_the_same_texts_give_the_same_vocabulary():
    assert torch.equal(learned().merges, learned(texts=iter(TEXTS)).merges)


def test_a_checkpoint_carries_it():
    tokenizer, other = learned(), ReportTokenizer(300)
    other.encode('built before')
    file = io.BytesIO()
    torch.save(tokenizer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
def test_initial_weights_leave_the_vocabulary(load):
    """As those of a comparison, whose model has seen no text."""
    tokenizer = nn.ModuleDict(dict(a=learned()))
    merges = tokenizer['a'].merges.clone()
    initial = nn.ModuleDict(dict(a=ReportTokenizer(300))).state_dict()
    load(tokenizer, initial)
    assert torch.equal(tokenizer['a'].merges, merges)
    assert (initial['a.merges'] < 0).all()  # it is not changed
    other = nn.ModuleDict(dict(a=learned(texts=TEXTS[:1])))
    assert not torch.equal(other['a'].merges, merges)
    load(tokenizer, other.state_dict())
    assert torch.equal(tokenizer['a'].merges, other['a'].merges)


def test_it_agrees_with_the_library():
    from tokenizers import ByteLevelBPETokenizer

    theirs = ByteLevelBPETokenizer()
    theirs.train_from_iterator(
        TEXTS, vocab_size=296, min_frequency=0, show_progress=False
    )
    for text in (*TEXTS, 'something else'):
        wanted = theirs.encode(text)
        assert learned().encode(text)[1] == wanted.offsets


def test_what_is_needed_is_named(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'tokenizers', None)
    with pytest.raises(UserError, match=r'"tokenizers"; run: pip install'):
        learned()


# -------------------------------------------------------------------- writing


@pytest.fixture(scope='module')
def decoder():
    torch.manual_seed(0)
    found = TextDecoder(300, 12, 2, 16, 2, 0.1)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    found.tokenizer.learn(TEXTS)
    return found.eval()


def greedy(decoder, latents, prefix):
    """Without a cache, one text at a time."""
    text = [START, *prefix]
    while len(text) < decoder.max_tokens and text[-1] != END:
        logits = decoder(torch.tensor([text]), latents)[0, -1]
        logits[[PAD, START, ANSWER]] = float('-inf')
        logits[decoder.tokenizer.known :] = float('-inf')
        text.append(int(logits.argmax()))
    return text[len(prefix) + 1 :]


def score(decoder, latents, prefix, text):
    """Log probability of a text, by its length."""
    whole = torch.tensor([[START, *prefix, *text]])
    logits = decoder(whole[:, :-1], latents)[0]
    logits[:, [PAD, START, ANSWER]] = float('-inf')
    logits[:, decoder.tokenizer.known :] = float('-inf')
    chances = logits.log_softmax(-1)[
        torch.arange(whole.shape[1] - 1), whole[0, 1:]
    ]
    return chances[len(prefix) :].sum().item() / len(text)


@torch.no_grad()
def test_the_cache_changes_nothing(decoder):
    latents = torch.randn(4, 3, 16)
    prefixes = [[], [80, 81, ANSWER], [90, ANSWER], []]
    found = decoder.write(latents, prefixes)
    for row, (prefix, ids) in enumerate(zip(prefixes, found)):
        wanted = greedy(decoder, latents[row : row + 1], prefix)
        assert [i for i in ids if i != PAD] == wanted


@torch.no_grad()
def test_beams_find_likelier_texts(decoder):
    torch.manual_seed(1)
    latents = torch.randn(6, 3, 16)
    prefixes = [[], [80, ANSWER]] * 3
    plain = decoder.write(latents, prefixes)
    wide = decoder.write(latents, prefixes, beams=4)
    gains = []
    for row, prefix in enumerate(prefixes):
        of_row = latents[row : row + 1]
        scores = [
            score(decoder, of_row, prefix, [i for i in ids if i != PAD])
            for ids in (plain[row], wide[row])
        ]
        gains.append(scores[1] - scores[0])
    assert sum(gains) > 0


@torch.no_grad()
def test_all_beams_are_the_exact_search():
    """A vocabulary that is cut to few tokens, each text tried."""
    torch.manual_seed(2)
    decoder = TextDecoder(SMALLEST, 4, 1, 16, 2, 0.0).eval()
    latents = torch.randn(1, 3, 16)
    # all but three tokens are as good as impossible
    decoder.embedding.mul_(20)
    (found,) = decoder.write(latents, [[]], beams=60)
    best = score(decoder, latents, [], [i for i in found if i != PAD])
    for first in range(ANSWER + 1, SMALLEST, 16):
        for second in (END, first):
            text = [first, second] + [END] * (second != END)
            assert score(decoder, latents, [], text) <= best + 1e-5


@torch.no_grad()
def test_a_token_without_meaning_is_never_written(decoder):
    spare = TextDecoder(400, 8, 1, 16, 2, 0.0).eval()
    spare.tokenizer.learn(['aa'])
    spare.embedding[spare.tokenizer.known :] = 50.0
    spare.norm.bias.data.fill_(1.0)
    for ids in spare.write(torch.randn(3, 2, 16), [[]] * 3, beams=2):
        assert max(ids) < spare.tokenizer.known


# ------------------------------------------------------------------ attention


def test_attention_against_torch():
    torch.manual_seed(0)
    ours = Attention(16, 4, 0.0)
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    keys, values = ours.memory.weight.chunk(2)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(
            torch.cat([ours.query.weight, keys, values])
        )
        theirs.in_proj_bias.copy_(
            torch.cat([ours.query.bias, ours.memory.bias])
        )
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    queries, tokens = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    found = ours(queries, ours.remember(tokens))
    torch.testing.assert_close(found, theirs(queries, tokens, tokens)[0])


def test_latents_see_where_things_are():
    torch.manual_seed(0)
    resampler = LatentResampler([8, 8], 3, 1, 16, 2, 0.0, None)
    maps = [torch.randn(2, 8, 4, 4), torch.randn(2, 8, 2, 2)]
    found = resampler(maps)
    assert found.shape == (2, 3, 16)
    mirrored = resampler([each.flip(-1) for each in maps])
    assert not torch.allclose(found, mirrored, atol=1e-4)


@pytest.mark.slow
def test_it_says_what_it_sees():
    """Bright patches left, right or nowhere, of images it never saw."""
    texts = ('A nodule on the left.', 'A nodule on the right.', 'Clear.')
    torch.manual_seed(0)
    branch = MODELS.build(
        dict(
            type='ReportBranch',
            in_channels=(4, 4, 4, 4),
            tasks=TASKS[:1],
            stages=(3,),
            norm_cfg=None,
            **{**SMALL, 'dims': 32, 'layers': 1, 'depth': 1},
            max_tokens=16,
            dropout=0.0,
        )
    )
    branch.take_statistics(TASKS[0], records(list(texts)))

    def draw(count, generator):
        maps = 0.3 * torch.randn(count, 4, 4, 4, generator=generator)
        shown = torch.randint(3, (count,), generator=generator)
        for each, what in zip(maps, shown):
            if what < 2:
                each[:, 1:3, 3 * (1 - what)] += 2.0
        samples = []
        for what in shown.tolist():
            sample = FXDataSample(metainfo=dict(task='a/report'))
            sample.gt_report = texts[what]
            samples.append(sample)
        return (None, None, None, maps), samples

    optimizer = torch.optim.AdamW(branch.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(120):
        pyramid, samples = draw(32, generator)
        state = branch.encode(pyramid, samples)
        loss = branch.loss(state, 'a', samples)['loss_report']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    branch.eval()
    with torch.no_grad():
        pyramid, samples = draw(60, generator)
        state = branch.encode(pyramid, samples)
        written = branch.predict(state, 'a', samples)
        right = [each.pred_report == each.gt_report for each in written]
        # a third would be chance
        assert sum(right) >= 40
        blank = (None, None, None, torch.zeros(3, 4, 4, 4))
        state = branch.encode(blank, samples[:3])
        said = {s.pred_report for s in branch.predict(state, 'a', samples[:3])}
        assert len(said) == 1 and said <= set(texts)


def test_a_question_that_is_too_long_is_said_to_be_cut(model, monkeypatch):
    said = []
    monkeypatch.setattr(
        reporting, 'log_once', lambda text, level: said.append(text)
    )
    _, (sample, _) = batch('b/report')
    sample.question = 'x!y?' * 30
    found = model.student.reporting.tokens('b', [sample])
    assert ANSWER in found.inputs[0] and 'the end is not read' in said[0]


def test_mirror_images_are_refused():
    entry = dict(classes=h.FINDINGS, flip_prob=0.5)
    with pytest.raises(UserError, match='texts say left and right'):
        find_kind('report').check_entry('datasets.x.tasks.report', entry)


def test_latents_are_not_all_the_same():
    """Those that begin small become the mean of the tokens, and stay it."""
    torch.manual_seed(0)
    resampler = LatentResampler([8], 4, 2, 32, 4, 0.0, None)
    found = resampler([torch.randn(3, 8, 8, 8)])
    assert found.std(1).mean() > 0.3
