"""A stand-in of the model hub's API on the loopback, for one repository."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

TOKEN = 'hf_of_the_test'


class Hub:
    """What the hub holds: files of one commit, by name."""

    def __init__(self):
        self.name = None
        self.private = None
        self.files = {}
        self.uploads = {}
        self.requests = []
        self.message = ''

    @property
    def commit(self):
        text = ''.join(sorted(self.files))
        return hashlib.sha1(text.encode()).hexdigest()

    def describe(self, name):
        data = self.files[name]
        digest = hashlib.sha256(data).hexdigest()
        oid = hashlib.sha1(data).hexdigest()
        entry = dict(type='file', path=name, size=len(data), oid=oid)
        if name.endswith('.safetensors'):
            lfs = dict(oid=digest, size=len(data), pointerSize=130)
            entry.update(lfs=lfs)
        return entry

    def take(self, lines):
        """Take a commit: lines of JSON."""
        for line in map(json.loads, lines):
            value = line['value']
            if line['key'] == 'header':
                self.message = value['summary']
            elif line['key'] == 'file':
                self.files[value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'lfsFile':
                self.files[value['path']] = self.uploads[value['oid']]


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    @property
    def hub(self):
        return self.server.hub

    def body(self):
        length = self.headers.get('Content-Length')
        if length is not None:
            return self.rfile.read(int(length))
        data = b''
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, content, code=200, **headers):
        data = content
        if not isinstance(content, bytes):
            data = json.dumps(content).encode()
            headers.setdefault('Content-Type', 'application/json')
        self.send_response(code)
        headers.setdefault('Content-Length', str(len(data)))
        for key, value in headers.items():
            self.send_header(key.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(data)

    def refuse(self, code, what):
        self.answer({}, code, X_Error_Code=what, X_Error_Message=what)

    def allowed(self):
        return self.headers.get('Authorization') == f'Bearer {TOKEN}'

    def do_GET(self):
        hub, path = self.hub, self.path.partition('?')[0]
        hub.requests.append(path)
        if (
            not hub.name
            or hub.name not in path
            or (hub.private and not self.allowed())
        ):
            self.refuse(401, 'RepoNotFound')
        elif '/tree/' in path:
            self.answer([hub.describe(name) for name in hub.files])
        elif path.startswith('/api/models/'):
            if '/revision/' in path and not path.endswith(
                ('/main', hub.commit)
            ):
                self.refuse(404, 'RevisionNotFound')
                return
            files = [dict(rfilename=name) for name in hub.files]
            self.answer(
                dict(id=hub.name, sha=hub.commit, siblings=files, tags=[])
            )
        else:
            name = path.rpartition('/')[2]
            if name not in hub.files:
                self.refuse(404, 'EntryNotFound')
                return
            data = hub.files[name]
            etag = hashlib.sha256(data).hexdigest()
            self.answer(data, ETag=f'"{etag}"', X_Repo_Commit=hub.commit)

    do_HEAD = do_GET

    def do_PUT(self):
        self.hub.uploads[self.path.rpartition('/')[2]] = self.body()
        self.answer(b'')

    def do_POST(self):
        hub, path, body = self.hub, self.path, self.body()
        hub.requests.append(path)
        base = 'http://{}:{}'.format(*self.server.server_address)
        if not self.allowed():
            self.answer(dict(error='no token'), 401)
        elif path == '/api/repos/create':
            asked = json.loads(body)
            owner = asked.get('organization') or 'owner'
            hub.name = f'{owner}/{asked["name"]}'
            hub.private = asked.get('private') or (
                asked.get('visibility') == 'private'
            )
            self.answer(dict(url=f'{base}/{hub.name}', name=hub.name))
        elif path == '/api/validate-yaml':
            licence = yaml.safe_load(
                json.loads(body)['content'].split('---')[1]
            )['license']
            known = licence in ('cc-by-nc-4.0', 'unknown')
            errors = [] if known else [dict(message='"license" is no licence')]
            self.answer(
                dict(errors=errors, warnings=[]), 200 if known else 400
            )
        elif '/preupload/' in path:
            files = [
                dict(
                    path=file['path'],
                    uploadMode='lfs'
                    if file['path'].endswith('.safetensors')
                    else 'regular',
                    shouldIgnore=False,
                )
                for file in json.loads(body)['files']
            ]
            self.answer(dict(files=files))
        elif path.endswith('/objects/batch'):
            objects = [
                dict(
                    oid=each['oid'],
                    size=each['size'],
                    actions=dict(
                        upload=dict(href=f'{base}/upload/{each["oid"]}')
                    ),
                )
                for each in json.loads(body)['objects']
            ]
            self.answer(dict(transfer='basic', objects=objects))
        elif '/commit/' in path:
            hub.take(body.decode().splitlines())
            self.answer(
                dict(
                    commitUrl=f'{base}/{hub.name}/commit/{hub.commit}',
                    commitOid=hub.commit,
                    success=True,
                )
            )
        else:
            self.refuse(404, 'no such call')


@contextmanager
def serve():
    """Start it on a free port; yield its address and what it holds."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.hub = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield (
            f'http://127.0.0.1:{server.server_address[1]}',
            server.hub,
        )
    finally:
        server.shutdown()
        server.server_close()
