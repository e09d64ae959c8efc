"""A site: it trains on its own data, and answers with shared weights."""

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.config import FederatedPlan
from fx_mm.engine.runner import build_runner
from fx_mm.federated.exchange import Update, Weights, put, travelling
from fx_mm.federated.files import save_weights
from fx_mm.federated.round_hook import RECORD, RoundHook, is_of
from fx_mm.models.loading import build_model
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

FINAL = 'federated.pth'
"""A site's final model: the shared weights with its own parts."""


class Site:
    """One of the sites of a config: an ordinary training, in rounds.

    Its state is what its training saves: own parts, optimizer, teacher. So a
    site may be stopped, killed and started again at any time.

    Args:
        cfg (Config): The experiment's config; it is not changed.
        name (str): Of the site.

    Raises:
        UserError: If there is no such site, or the config cannot be used.
    """

    def __init__(self, cfg: Config, name: str) -> None:
        self.name = name
        self.plan = FederatedPlan(cfg)
        self.cfg = self.plan.site_config(name)

    @property
    def folder(self) -> Path:
        """Path: Of what this site keeps."""
        return Path(self.cfg.work_dir)

    def train(self, number: int, weights: Weights) -> Update:
        """Train a round from the server's weights.

        A round that is over is answered from its checkpoint, and one that was
        cut goes on from its own, if there is one.

        Args:
            number (int): Of the round, from 0.
            weights (Weights): The server's.

        Raises:
            UserError: If the weights do not fit, or the site cannot go on
                from where it is.
        """
        hook = RoundHook(self.plan, number, weights)
        newest = find_checkpoint(self.folder)
        if newest is not None:
            checkpoint = load_file(newest)
            record = checkpoint['meta'].get(RECORD) or {'round': number}
            if is_of(record, number, hook.start):
                if record['done']:
                    return self._answer_again(checkpoint, record)
            elif record['round'] >= number:
                raise UserError(
                    f'{self.name}: {newest} is of round '
                    f'{record["round"] + 1} of another training, and the '
                    f'server asks for round {number + 1}; choose another '
                    '--work-dir, or move this checkpoint away.'
                )
        cfg = copy.deepcopy(self.cfg)
        cfg.test_cfg = None
        runner = build_runner(cfg, resume=newest is not None)
        runner.register_hook(hook)
        runner.train()
        if not hook.done:
            raise UserError(
                f'{self.name}: stopped by {runner.train_loop.stopped_by} in '
                f'round {number + 1}; its checkpoint stands, start it again.'
            )
        return hook.update(runner)

    def _answer_again(
        self, checkpoint: dict[str, Any], record: dict[str, Any]
    ) -> Update:
        student = build_model(self.cfg).student
        state = checkpoint['state_dict']
        names = travelling(student, self.plan.share_norms)
        weights = {name: state[f'student.{name}'] for name in names}
        return Update(weights, record['images'])

    def finish(
        self, weights: Weights, teacher: Weights | None = None
    ) -> dict[str, float]:
        """Write the site's final model, and test it if the config says so.

        Args:
            weights (Weights): The server's, after the last round.
            teacher (Weights, optional): Of the server's teacher. Defaults to
                None, it has none.

        Returns:
            dict[str, float]: The headline metrics; empty without ``test_cfg``.

        Raises:
            UserError: If the site has not trained, or the weights do not fit.
        """
        newest = find_checkpoint(self.folder)
        if newest is None:
            raise UserError(f'{self.name} has not trained yet.')
        checkpoint = load_file(newest)
        model = build_model(self.cfg)
        names = travelling(model.student, self.plan.share_norms)
        state: Weights = {}
        for predictor, shared in (('student', weights), ('teacher', teacher)):
            if shared is None:
                continue
            own = {
                key.removeprefix(f'{predictor}.'): value
                for key, value in checkpoint['state_dict'].items()
                if key.startswith(f'{predictor}.')
            }
            if not own:
                raise UserError(
                    f'{newest} has no {predictor}, which '
                    'federated.server_teacher needs; add MeanTeacherHook to '
                    'custom_hooks.'
                )
            model.student.load_state_dict(own)
            put(model.student, names, shared)
            state |= {
                f'{predictor}.{name}': value.clone()
                for name, value in model.student.state_dict().items()
            }
        predict_on = 'student' if teacher is None else 'teacher'
        meta = dict(checkpoint['meta'], predict_on=predict_on)
        file = self.folder / FINAL
        save_weights(dict(state_dict=state, meta=meta), file)
        if self.cfg.get('test_cfg') is None:
            return {}
        cfg = copy.deepcopy(self.cfg)
        cfg.test_cfg.predict_on = predict_on
        runner = build_runner(cfg, train=False, checkpoint=str(file))
        return runner.test()
