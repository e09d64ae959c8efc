"""Folders on a model hub: pushed to it, fetched from it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fx_mm.converters.hub_folder import CONFIG, WEIGHTS
from fx_mm.utils.errors import UserError
from fx_mm.version import __version__

PREFIX = 'hf://'
NEEDED = (
    'A hub needs the package huggingface_hub; install it with '
    '"pip install onedl-fx-mm[hub]".'
)


def push_folder(folder: str | Path, name: str, public: bool = False) -> str:
    """Upload a folder as one commit.

    Args:
        folder (str | Path): What :func:`.write_folder` wrote.
        name (str): ``owner/name``; the repository is made if it is missing.
        public (bool): Whether everybody may see a repository that is made
            now; one that exists stays as it is. Defaults to False.

    Returns:
        str: Where it is to be seen.

    Raises:
        UserError: If huggingface_hub is missing, the hub refuses, or is out
            of reach.
    """
    hub = _library()
    with _errors(name, 'write'):
        api = hub.HfApi()
        api.create_repo(name, private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            commit_message=f'Publish with fx_mm {__version__}',
        )
    return str(commit.repo_url)


def fetch_folder(
    name: str, revision: str | None = None, token: str | None = None
) -> Path:
    """Download weights and config of one commit, or find them in the cache.

    Args:
        name (str): ``owner/name``.
        revision (str, optional): Branch, tag or commit. Defaults to None: the
            newest.
        token (str, optional): Defaults to None: ``HF_TOKEN``, or that of
            ``hf auth login``.

    Returns:
        Path: The folder in huggingface_hub's cache.

    Raises:
        UserError: If huggingface_hub is missing, there is no such repository
            for this token, or the hub is out of reach.
    """
    hub = _library()
    with _errors(name, 'read', revision):
        return Path(
            hub.snapshot_download(
                name,
                revision=revision,
                token=token,
                allow_patterns=[CONFIG, WEIGHTS],
            )
        )


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(NEEDED) from error
    return huggingface_hub


@contextlib.contextmanager
def _errors(name: str, to: str, revision: str | None = None) -> Iterator[None]:
    """Say in one sentence what the hub refused.

    Args:
        name (str): The repository.
        to (str): What the token must allow, ``read`` or ``write``.
        revision (str, optional): The revision. Defaults to None.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(
            f'"{name}" is no name on a hub; write owner/name.'
        ) from error
    except ValueError as error:
        raise UserError(
            f'The hub does not take the card of "{name}" '
            f'({" ".join(str(error).split())}); is --licence one of its list?'
        ) from error
    except errors.GatedRepoError as error:
        raise UserError(
            f'The owner of "{name}" gives access on request; ask for it on '
            'its page, then set HF_TOKEN.'
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f'The hub has no "{name}", or it is private: check the name, or '
            f'set HF_TOKEN to a token that may {to} it.'
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f'"{name}" has no revision "{revision}"; see its list of files.'
        ) from error
    except errors.HfHubHTTPError as error:
        code = getattr(error.response, 'status_code', None)
        if code in (401, 403):
            raise UserError(
                f'The hub refuses to {to} "{name}" ({code}); set HF_TOKEN to '
                f'a token that may {to} it.'
            ) from error
        raise UserError(
            f'The hub did not {to} "{name}" (HTTP {code}); try again later.'
        ) from error
    except (
        errors.LocalEntryNotFoundError,
        errors.HTTPError,
        OSError,
    ) as error:
        raise UserError(
            f'The hub is out of reach, to {to} "{name}" '
            f'({type(error).__name__}); check the network, or give a folder.'
        ) from error
