"""All sites on one machine, each round of a site in a worker process."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from fx_mm.federated.exchange import Update, pack, unpack
from fx_mm.federated.files import save_weights
from fx_mm.federated.launching import end_with_parent
from fx_mm.federated.merging import merge
from fx_mm.federated.results import join_results
from fx_mm.federated.server import FederatedServer, newest_round
from fx_mm.federated.site import FINAL, Site
from fx_mm.utils.errors import UserError


def simulate(cfg: Config, resume: bool = False, jobs: int = 1) -> None:
    """Train all sites and write their final models, and one of all.

    Everything is below ``work_dir``: the server's rounds, a folder per site
    with its training, ``merged.pth``, and the tests of all sites as one
    ``results.json``.

    Args:
        cfg (Config): The experiment's config; it is not changed.
        resume (bool): Go on in ``work_dir``. Defaults to False.
        jobs (int): Sites that train at a time. Defaults to 1.

    Raises:
        UserError: If a site fails; what is done stands.
    """
    server = FederatedServer(cfg, resume)
    plan = server.plan
    spawn = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(jobs, spawn, _prepare, (cfg,)) as pool:
        while not server.done:
            number, packed = server.number, pack(server.weights)
            futures = {
                site: pool.submit(_train, cfg, site, number, packed)
                for site in plan.chosen(number)
            }
            updates = {}
            for site, future in futures.items():
                try:
                    content, images = future.result()
                except BrokenProcessPool as error:
                    raise UserError(
                        f'The process of {site} or of another site ended in '
                        f'round {number + 1}, perhaps for lack of memory; go '
                        'on with --resume.'
                    ) from error
                updates[site] = Update(unpack(content, site), images)
                server.check(site, updates[site])
            server.close_round(updates, {})
        packed = pack(server.weights)
        teacher = None if server.teacher is None else pack(server.teacher)
        ends = [
            pool.submit(_finish, cfg, site, packed, teacher)
            for site in plan.sites
        ]
        for end in ends:
            end.result()
    if plan.share_norms:
        files = [str(plan.work_dir / site / FINAL) for site in plan.sites]
        merged = merge(cfg, str(newest_round(plan.work_dir)), files)
        save_weights(merged, plan.work_dir / 'merged.pth')
    join_results(cfg, [plan.work_dir / site for site in plan.sites])


def _prepare(cfg: Config) -> None:
    """Do what reading the config's file did in the first process."""
    # after a checkpoint it would wait for its next round for ever
    end_with_parent(signal.SIGKILL)
    import_modules_from_strings(**(cfg.get('custom_imports') or {}))


def _train(
    cfg: Config, site: str, number: int, packed: bytes
) -> tuple[bytes, dict[str, int]]:
    update = Site(cfg, site).train(number, unpack(packed, 'The server'))
    return pack(update.weights), update.images


def _finish(
    cfg: Config, site: str, packed: bytes, teacher: bytes | None
) -> dict[str, float]:
    return Site(cfg, site).finish(
        unpack(packed, 'The server'),
        None if teacher is None else unpack(teacher, 'The server'),
    )
