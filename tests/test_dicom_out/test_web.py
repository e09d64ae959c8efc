"""A real archive: fetch a study, store results, ask for them."""

import http.server
import io
import json
import logging
import ssl
import subprocess
import threading

import pydicom
import pytest
from dicom_fixtures import PATIENT, predictions
from dicomweb_client.web import DICOMwebClient

from fx_mm.apis.image_sources import list_sources
from fx_mm.dicom_out import DicomWeb, is_web_address
from fx_mm.dicom_out.delivery import to_bytes
from fx_mm.utils.errors import UserError

STUDY = PATIENT['StudyInstanceUID']


@pytest.mark.parametrize(
    'address',
    (
        'dicomweb://',
        'dicomweb:///path?study=1.2',
        'dicomweb://host:port/path',
        'dicomweb://host/path?studies=1.2',
        'dicomweb://host/path?study',
        'dicomweb://host/path?study=../x',
    ),
)
def test_an_address_that_cannot_be_read(address):
    with pytest.raises(UserError, match='cannot be read; write dicomweb://'):
        DicomWeb(address)


def test_credentials_and_plain_http_are_refused():
    with pytest.raises(UserError, match='holds credentials') as error:
        DicomWeb('dicomweb://me:secret@host/path')
    assert 'secret' not in str(error.value)
    with pytest.raises(UserError, match='without encryption'):
        DicomWeb('dicomweb+http://pacs.example/path')
    assert not is_web_address('dicomweb') and not is_web_address(None)


def test_a_study_is_fetched_and_results_are_stored(
    source, make, archive, caplog
):
    """Round trip; what is asked and stored leaves no name in the log."""
    caplog.set_level(logging.DEBUG)
    path = source()
    image = pydicom.dcmread(path)
    DicomWeb(archive).store([image])

    study = f'{archive}?study={STUDY}'
    (listed,) = list_sources(study)[0]
    fetched = pydicom.dcmread(listed.path)
    assert fetched.SOPInstanceUID == image.SOPInstanceUID
    assert fetched.PixelData == image.PixelData
    assert listed.name == f'{image.SOPInstanceUID}.dcm'

    made = make(predictions(listed.path))
    DicomWeb(archive).store(list(made.values()))

    client = DICOMwebClient('http' + archive.removeprefix('dicomweb+http'))
    client._session.auth = ('tester', 'secret')
    found = {
        each['00080018']['Value'][0]: each['00080060']['Value'][0]
        for each in client.search_for_instances(STUDY, fields=['Modality'])
    }
    assert sorted(found.values()) == ['DX', 'PR', 'SEG', 'SR']
    for each in made.values():
        assert found[each.SOPInstanceUID] == each.Modality
        back = client.retrieve_instance(
            STUDY, each.SeriesInstanceUID, each.SOPInstanceUID
        )
        sent = pydicom.dcmread(io.BytesIO(to_bytes(each)))
        assert back.to_json_dict() == sent.to_json_dict()
    # results are no X-rays: the study still has one
    assert len(list(list_sources(study)[0])) == 1
    for secret in ('Müller', 'Änne', 'A17', 'secret'):
        assert secret not in caplog.text


def test_archive_without_the_study_or_the_credentials(archive, monkeypatch):
    with pytest.raises(
        UserError, match=r'no X-ray in the study 1\.2\.3, of 0'
    ):
        DicomWeb(f'{archive}?study=1.2.3').fetch()
    with pytest.raises(UserError, match='names no study'):
        DicomWeb(archive).fetch()
    wrong = archive.replace('/dicom-web', '/elsewhere')
    with pytest.raises(UserError, match='answered 404'):
        DicomWeb(f'{wrong}?study=1.2.3').fetch()
    monkeypatch.delenv('FX_MM_DICOMWEB_USER')
    with pytest.raises(UserError, match='answered 401.*FX_MM_DICOMWEB_USER'):
        DicomWeb(f'{archive}?study=1.2.3').fetch()


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers each request alike and keeps what was asked."""

    status, body, headers_sent, asked = 200, b'[]', {}, []

    def do_GET(self):
        self.asked.append(dict(self.headers))
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.send_response(self.status)
        for key, value in self.headers_sent.items():
            self.send_header(key, value)
        self.send_header('Content-Length', str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """Start a server that answers as it is told."""
    servers = []

    def start(context=None, **answers):
        handler = type('Handler', (Answers,), dict(answers, asked=[]))
        server = http.server.HTTPServer(('127.0.0.1', 0), handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, True)
        threading.Thread(
            target=server.serve_forever, args=(0.02,), daemon=True
        ).start()
        servers.append(server)
        return server.server_port, handler

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch(port, scheme='dicomweb+http'):
    DicomWeb(f'{scheme}://127.0.0.1:{port}/x?study=1.2').fetch()


def test_answers_that_are_none(serve):
    port, _ = serve(body=b'<html>', headers_sent={'Content-Type': 'text/html'})
    with pytest.raises(UserError, match='not DICOMweb'):
        fetch(port)
    port, _ = serve(status=500)
    with pytest.raises(UserError, match='answered 500'):
        fetch(port)
    port, _ = serve(status=302, headers_sent={'Location': 'http://x.example'})
    with pytest.raises(UserError, match='to another address'):
        fetch(port)
    with pytest.raises(UserError, match='cannot be reached'):
        fetch(1)


@pytest.mark.parametrize('uid', ('../../x', None))
def test_an_answer_names_no_place_of_a_file(serve, uid):
    """An archive that is hostile, or broken, writes nothing anywhere."""
    item = {
        '00080060': {'vr': 'CS', 'Value': ['DX']},
        '00080018': {'vr': 'UI', 'Value': ['1.2.3']},
        '0020000E': {'vr': 'UI', 'Value': ['1.2']},
    }
    item.pop('00080018')
    if uid is not None:
        item['00080018'] = {'vr': 'UI', 'Value': [uid]}
    kind = {'Content-Type': 'application/dicom+json'}
    body = json.dumps([item]).encode()
    port, handler = serve(body=body, headers_sent=kind)
    client = DicomWeb(f'dicomweb+http://127.0.0.1:{port}/x?study=1.2')
    client._client.search_for_instances = lambda *args, **kwargs: [item]
    with pytest.raises(UserError, match='not DICOMweb'):
        client.fetch()
    assert not handler.asked


def test_refused_results(serve, source):
    body = (
        b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", '
        b'"Value": [272]}}]}}'
    )
    kind = {'Content-Type': 'application/dicom+json'}
    port, _ = serve(status=202, body=body, headers_sent=kind)
    with pytest.raises(UserError, match='not store 1 of 1 .*0x0110'):
        DicomWeb(f'dicomweb+http://127.0.0.1:{port}/x').store(
            [pydicom.dcmread(source())]
        )


def test_credentials_are_those_of_the_environment(
    serve, monkeypatch, tmp_path
):
    """And not those of a .netrc, which requests would take."""
    netrc = tmp_path / '.netrc'
    netrc.write_text('machine 127.0.0.1 login other password other')
    monkeypatch.setenv('NETRC', str(netrc))
    kind = {'Content-Type': 'application/dicom+json'}
    port, handler = serve(headers_sent=kind)
    for token, expected in ((None, None), ('abc', 'Bearer abc')):
        if token:
            monkeypatch.setenv('FX_MM_DICOMWEB_TOKEN', token)
        with pytest.raises(UserError, match='no X-ray'):
            fetch(port)
        assert handler.asked[-1].get('Authorization') == expected


def test_a_certificate_is_verified(serve, tmp_path, monkeypatch):
    key, certificate = tmp_path / 'key.pem', tmp_path / 'certificate.pem'
    subprocess.run(
        'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 '
        f'-nodes -keyout {key} -out {certificate} -days 2 '
        '-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1'.split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    kind = {'Content-Type': 'application/dicom+json'}
    port, _ = serve(context, headers_sent=kind)
    with pytest.raises(UserError, match='certificate .* cannot be verified'):
        fetch(port, 'dicomweb')
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(certificate))
    with pytest.raises(UserError, match='no X-ray'):
        fetch(port, 'dicomweb')
