"""Archives that speak DICOMweb: studies are fetched, results stored."""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from fx_mm.dicom_out.extra import need, quiet
from fx_mm.image_io.dicom_fit import X_RAYS
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    import pydicom

SCHEMES = {'dicomweb': 'https', 'dicomweb+http': 'http'}
LOOPBACK = ('localhost', '127.0.0.1', '::1')
USER, PASSWORD, TOKEN = (
    f'FX_MM_DICOMWEB_{name}' for name in ('USER', 'PASSWORD', 'TOKEN')
)
"""Environment variables with the credentials."""
UNSAID = ('', 'OT')
"""Modalities of photos of films, and of archives that do not say it."""
TIMEOUT = 60
"""Seconds without an answer after which a request has failed."""
UID = r'[0-9.]{1,64}'
ONE_REQUEST = 2**31
"""Bytes; no result is larger, so each is sent as a whole."""

_FETCHED: list[tempfile.TemporaryDirectory[str]] = []
"""Folders that are removed when the process ends."""


def is_web_address(place: object) -> bool:
    """Return whether something is the address of an archive."""
    return isinstance(place, str) and place.startswith(
        tuple(f'{scheme}://' for scheme in SCHEMES)
    )


class DicomWeb:
    """An archive, and perhaps a study of it.

    Args:
        address (str): ``dicomweb://host/path``, which is spoken to by HTTPS
            with its certificate verified, with ``?study=UID`` for a study;
            ``dicomweb+http://`` for plain HTTP on this machine.

    Raises:
        UserError: If the address cannot be used, or dicomweb-client is not
            installed.
    """

    def __init__(self, address: str) -> None:
        self._check(address)
        parts = urlsplit(address)
        self.host = parts.netloc
        scheme, path = SCHEMES[parts.scheme], parts.path.rstrip('/')
        url = urlunsplit((scheme, parts.netloc, path, '', ''))
        query = parse_qs(parts.query)
        self.study = query['study'][0] if 'study' in query else None
        need('pydicom')
        web = need('dicomweb_client.web')
        with quiet():
            self._client = web.DICOMwebClient(
                url, _session(), timeout=TIMEOUT, chunk_size=ONE_REQUEST
            )
            # it would ask five times, also where an answer cannot change
            self._client.set_http_retry_params(retry=False)

    def _check(self, address: str) -> None:
        try:
            parts = urlsplit(address)
            host, _ = parts.hostname, parts.port
            query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError:
            host, query = None, {}
        study = query.get('study', ['0'])[0]
        if not host or {*query} - {'study'} or not re.fullmatch(UID, study):
            raise UserError(
                'the address of an archive cannot be read; write '
                'dicomweb://host/path, with ?study=UID for a study.'
            )
        if '@' in parts.netloc:
            raise UserError(
                f'the address of {host} holds credentials, which logs would '
                f'show; set {USER} and {PASSWORD}, or {TOKEN}.'
            )
        if SCHEMES[parts.scheme] == 'http' and host not in LOOPBACK:
            raise UserError(
                f'dicomweb+http sends patients to {host} without encryption; '
                'it is for this machine alone. Write dicomweb://, or go '
                'through a tunnel.'
            )

    def fetch(self) -> list[str]:
        """Fetch the X-rays of the study.

        Returns:
            list[str]: Files in a folder that no other user can read, and
            that is removed when the process ends.

        Raises:
            UserError: If the archive refuses or has no X-ray in the study.
        """
        if self.study is None:
            raise UserError(
                f'the address of {self.host} names no study; add ?study=UID.'
            )
        found = self._ask(
            'the search for the study',
            self._client.search_for_instances,
            self.study,
            fields=['Modality', 'SOPClassUID', 'SeriesInstanceUID'],
            get_remaining=True,
        )
        with quiet(), self._one_sentence('the search for the study'):
            images = sorted(_references(found))
        if not images:
            raise UserError(
                f'{self.host}: no X-ray in the study {self.study}, of '
                f'{len(found)} instances.'
            )
        folder = tempfile.TemporaryDirectory(prefix='fx_mm_')
        _FETCHED.append(folder)
        paths = []
        for series, instance in images:
            dataset = self._ask(
                'the retrieval of an image',
                self._client.retrieve_instance,
                *(self.study, series, instance),
            )
            path = Path(folder.name, f'{instance}.dcm')
            with quiet():
                dataset.save_as(path, enforce_file_format=True)
            paths.append(str(path))
        return paths

    def store(self, datasets: Sequence['pydicom.Dataset']) -> None:
        """Store DICOM objects.

        Args:
            datasets (Sequence[pydicom.Dataset]): What is stored.

        Raises:
            UserError: If the archive refuses one of them.
        """
        answer = self._ask(
            'the storage of results',
            self._client.store_instances,
            datasets,
        )
        failed = answer.get('FailedSOPSequence') or []
        if failed:
            reasons = {
                f'{item.get("FailureReason", 0):#06x}' for item in failed
            }
            raise UserError(
                f'{self.host} did not store {len(failed)} of {len(datasets)} '
                f'DICOM results (reason {", ".join(sorted(reasons))}).'
            )

    def _ask(
        self, what: str, call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Ask the archive; what goes wrong becomes one sentence."""
        with quiet(), self._one_sentence(what):
            return call(*args, **kwargs)

    @contextlib.contextmanager
    def _one_sentence(self, what: str) -> Iterator[None]:
        from requests import exceptions

        try:
            yield
        except exceptions.HTTPError as error:
            status = getattr(error.response, 'status_code', 0)
            reason = getattr(error.response, 'reason', '')
            advice = (
                f'; set {USER} and {PASSWORD}, or {TOKEN}'
                if status in (401, 403)
                else ''
            )
            raise UserError(
                f'{self.host} answered {status} {reason} to {what}{advice}.'
            ) from None
        except exceptions.SSLError:
            raise UserError(
                f'the certificate of {self.host} cannot be verified; if it '
                'is signed by an authority of your own, name its file in '
                'REQUESTS_CA_BUNDLE.'
            ) from None
        except exceptions.TooManyRedirects:
            raise UserError(
                f'{self.host} sends {what} on to another address; write '
                'that one.'
            ) from None
        except (exceptions.ConnectionError, exceptions.Timeout) as error:
            raise UserError(
                f'{self.host} cannot be reached for {what} '
                f'({type(error).__name__}).'
            ) from None
        except (exceptions.RequestException, ValueError, KeyError) as error:
            raise UserError(
                f'{self.host} answers {what} with what is not DICOMweb '
                f'({type(error).__name__}); check the path of the address.'
            ) from None


def _session() -> Any:
    """Return a session with the credentials of the environment alone."""
    import requests

    session = requests.Session()
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    token = os.environ.get(TOKEN)
    if token:
        session.headers['Authorization'] = f'Bearer {token}'
    elif user:
        session.auth = (user, password or '')
    if token or not user:
        # otherwise requests would look into ~/.netrc
        session.auth = lambda request: request
    session.max_redirects = 0
    return session


def _references(
    found: Sequence[dict[str, Any]],
) -> Iterator[tuple[str, str]]:
    """Yield series and instance of those that may be X-rays.

    Raises:
        ValueError: If one has no UIDs; they become the name of a file, which
            an answer such as ``../../x`` would put anywhere.
    """
    from pydicom import Dataset
    from pydicom.uid import UID_dictionary

    for each in found:
        item = Dataset.from_json(each)
        modality = str(item.get('Modality') or '').upper()
        kind = UID_dictionary.get(str(item.get('SOPClassUID')), ('',))
        name = kind[0]
        image = 'Image' in name and 'Segmentation' not in name
        if modality in X_RAYS or (modality in UNSAID and image):
            uids = (
                str(item.get('SeriesInstanceUID')),
                str(item.get('SOPInstanceUID')),
            )
            if not all(re.fullmatch(UID, uid) for uid in uids):
                raise ValueError('an instance without UIDs')
            yield uids
