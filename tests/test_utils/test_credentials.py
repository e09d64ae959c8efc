"""What a config holds of credentials stays where it is."""

import ast
from collections import namedtuple

import pytest

from fx_mm.utils.credentials import (
    hide_credentials,
    hide_in_config_text,
    hide_in_text,
)


@pytest.mark.parametrize(
    'text, shown',
    [
        ('', ''),
        ('http://host/a@b', 'http://host/a@b'),
        ('sqlite:////home/me/x.db', 'sqlite:////home/me/x.db'),
        ('http://me:pw@host/a', 'http://host/a'),
        ('lost http://me:p@w@host and', 'lost http://host and'),
        ('https://host/x?a=1&sas_token=pw&b=2', 'https://host/x?a=1&sas_token=***&b=2'),
        ('s3://b/x?X-Amz-Signature=pw', 's3://b/x?X-Amz-Signature=***'),
        ('s3://b/x?X-Amz-Credential=pw/a', 's3://b/x?X-Amz-Credential=***'),
        ('http://host/x?sv=1&sig=pw%3D', 'http://host/x?sv=1&sig=***'),
        ('http://host/x?design=a', 'http://host/x?design=a'),
        ('https://me:p/w@host/x@y', 'https://host/x@y'),
        ('https://me:p/w?p#w@host', 'https://host'),
        ('https://me:1p/w@p@host', 'https://host'),
        ('http://host:80/a@b', 'http://host:80/a@b'),
        ('http://[::1]:80/a@b', 'http://[::1]:80/a@b'),
        ('https://h.org?mail=a@b.org', 'https://h.org?mail=a@b.org'),
        ('https://h.org#a@b.org', 'https://h.org#a@b.org'),
        ('Authorization: Basic pw', 'Authorization: ***'),
        ("{'authorization': 'Bearer pw'}", "{'authorization': '***'}"),
        ('Bearer pw', 'Bearer ***'),
    ],
)  # fmt: skip
def test_texts(text, shown):
    assert hide_in_text(text) == shown


def test_values():
    assert hide_credentials({}) == {}
    plain = dict(token=None, cls_token=True, max_tokens=3, keys=['a'], key='a')
    assert hide_credentials(plain) == plain
    secret = dict(
        init_kwargs=dict(settings=dict(api_key='pw')),
        backends=[dict(uri='http://me:pw@host', password='pw')],
        file_client_args=dict(access_key='pw', secret_key=('pw', 'pw')),
    )
    hidden = hide_credentials(secret)
    assert 'pw' not in str(hidden)
    assert hidden['backends'][0]['uri'] == 'http://host'
    assert 'pw' in str(secret), 'the config itself stays'


@pytest.mark.parametrize(
    'key',
    [
        'token',
        'tokens',
        'secrets',
        'passwords',
        'passphrase',
        'pwd',
        'auth',
        'authToken',
        'apiToken',
        'api-key',
        'apiKey',
        'APIKEY',
        'db_password2',
        'Authorization',
        'X-Auth-Token',
        'id_token',
        'proxy-authorization',
        'aws_access_key_id',
        'AWSAccessKeyId',
        'ssh_key',
        'cookies',
        'backend_token',
        'minio_token',
    ],
)
@pytest.mark.parametrize(
    'value',
    [
        'pw',
        b'pw',
        314,
        -3.14,
        ('pw', 314),
        [{'x': 'pw', 'cls_token': 314}],
        dict(type='pw', pin=dict(a=-314)),
    ],
)
def test_everything_below_a_secret_key_is_hidden(key, value):
    given = {'headers': {key: value}, 'b': 1}
    hidden = hide_credentials(given)
    assert hidden['b'] == 1
    assert not any(
        each in str(hidden['headers'][key]) for each in ('pw', '14')
    )
    found = {}
    exec(hide_in_config_text(f'a = {given!r}'), found)
    assert found['a'] == hidden


@pytest.mark.parametrize(
    'key',
    [
        'mask_token',
        'cls_token',
        'pad_token',
        'sep_token',
        'bos_token',
        'eos_token',
        'unk_token',
        'with_cls_token',
        'clsToken',
        'num_query_token',
        'max_new_tokens',
        'additional_special_tokens',
        'tokenizer',
        'max_tokens',
        'key',
        'keys',
        'metric_key',
        'author',
    ],
)
def test_tokens_of_models_stay(key):
    for value in ('[X]', 3, dict(type='A', std=0.02), ['[X]', 0]):
        given = dict(a={key: value})
        assert hide_credentials(given) == given
        text = f'a = {given!r}\n{key} = {value!r}\n'
        assert hide_in_config_text(text) == text


def test_empty_values_and_flags_stay():
    for value in (None, True, False, '', b'', [], {}):
        assert hide_credentials(dict(token=value)) == dict(token=value)


def test_named_tuples():
    Login = namedtuple('Login', 'uri password')
    hidden = hide_credentials([Login('http://me:pw@host', 'pw')])
    assert hidden == [Login('http://host', '***')]
    assert isinstance(hidden[0], Login)
    assert hide_credentials(Login(1, 2), 'auth') == ('***', '***')


def test_text_of_a_config():
    plain = "a = dict(b='c',   d=[1])\ncls_token = True\n"
    assert hide_in_config_text(plain) == plain
    assert hide_in_config_text('') == ''
    text = (
        "a = dict(token='pw', b=[{'password': 'pw', 'c': 1}], c='pwless')\n"
        "password = ('pw'\n    'pw')\nuri = 'http://me:pw@host'\n"
        "credentials = dict(pin='pw', b=-5, c=[dict(d=b'pw')])\n"
    )
    hidden = {}
    exec(hide_in_config_text(text), hidden)
    given = {}
    exec(text, given)
    names = [node.targets[0].id for node in ast.parse(text).body]
    for name in names:
        assert hidden[name] == hide_credentials(given[name], name)
    assert hidden['a']['c'] == 'pwless'
