"""What a config holds of credentials stays where it is."""

import ast

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
    ],
)  # fmt: skip
def test_texts(text, shown):
    assert hide_in_text(text) == shown


def test_values():
    assert hide_credentials({}) == {}
    plain = dict(token=None, cls_token=True, tokens=3, keys=['a'], key='a')
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


def test_text_of_a_config():
    plain = "a = dict(b='c',   d=[1])\ncls_token = True\n"
    assert hide_in_config_text(plain) == plain
    assert hide_in_config_text('') == ''
    text = (
        "a = dict(token='pw', b=[{'password': 'pw', 'c': 1}], c='pwless')\n"
        "password = ('pw'\n    'pw')\nuri = 'http://me:pw@host'\n"
    )
    hidden = {}
    exec(hide_in_config_text(text), hidden)
    given = {}
    exec(text, given)
    names = [node.targets[0].id for node in ast.parse(text).body]
    for name in names:
        assert hidden[name] == hide_credentials(given[name], name)
    assert hidden['a']['c'] == 'pwless'
