"""Secrets in the forms that drivers, SDKs and servers show them in; and that looking for them is fast."""

import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_llm.engine.secrets import REMOVED, scrub, scrub_keys

PEM: Final = "-----BEGIN {0}PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B+AQ/EFAASCBKc\n-----END {0}PRIVATE KEY-----"
JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
AWS: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

# Each text with the part that nobody is to see.
PASSWORDS = {
    "could not connect: password=hunter2 host=db": "hunter2",
    "password=hun;ter2 host=db": "ter2",
    "login with passwd: hunter2.": "hunter2",
    'FATAL: password "hunter2" refused': "hunter2",
    "CREATE USER anna IDENTIFIED BY 'hunter2'": "hunter2",
    "UID=sa;PWD=hunter2;Server=db": "hunter2",
    "SMTP_PASS=hunter2": "hunter2",
    '{"user": "root", "password": "hunter2"}': "hunter2",
    '{"password":"hun\\"ter2"}': "ter2",
    r'body: "{\"password\": \"hunter2\"}"': "hunter2",
    "connect(host='db', password=b'hunter2')": "hunter2",
    'Settings(db_password=SecretStr("hunter2"))': "hunter2",
    "<password>hunter2</password>": "hunter2",
    "os.environ['DB_PASSWORD'] = 'hunter2'": "hunter2",
    "psql --password hunter2 -h db": "hunter2",
    "Command '['mysql', '--password', 'hunter2']' returned 1": "hunter2",
    "password%3Dhunter2%26x": "hunter2",
    "PGPASSWORD=hunter2 psql": "hunter2",
    "password => 'hunter2'": "hunter2",
    "spring.datasource.password: hunter2": "hunter2",
    "passcode=hunter2": "hunter2",
    "curl -u anna:hunter2 https://x": "hunter2",
    "Command '['curl', '--user', 'anna:hunter2']' failed": "hunter2",
}
URLS = {
    "postgresql://user:hun@ter2@db/x refused": "ter2",
    "mysql+pymysql://root:p@ss/w0rd@db:3306/x": "w0rd",
    "redis://:hunter2@cache:6379/0": "hunter2",
    "dial anna:hunter2@tcp(db:3306)/x": "hunter2",
    "git clone https://oauth2:hunter2@gitlab.com/a/b": "hunter2",
    "mongodb+srv://anna:hun'ter2@cluster/x": "ter2",
    'amqp://anna:hun"ter#2?@queue': "ter#2",
    "jdbc:postgresql://db/x?user=anna&password=hunter2": "hunter2",
    "https://hunter2@github.com/a/b": "hunter2",
    "GET /v1?token=abc123def456 failed": "abc123def456",
    "GET /v1?model=x&key=abc123&n=1": "abc123",
    "https://x.blob.core.windows.net/c?sv=2020&sig=AbC%2Fdef123%3D": "AbC%2Fdef123",
    "https://s3/x?X-Amz-Credential=abc%2Fs3&X-Amz-Signature=fe5f80f77d5fa3&X-Amz-Date=1": "fe5f80",
    "https://hooks.slack.com/services/T000/B000/XXXXhunter2": "hunter2",
}
HEADERS = {
    "Authorization: Basic dXNlcjpodW50ZXIy": "dXNlcjpodW50ZXIy",
    "sent Basic YWxhZGRpbjpvcGVuc2VzYW1l to it": "YWxhZGRpbj",
    "sent BASIC YWxhZGRpbjpvcGVuc2VzYW1l": "YWxhZGRpbj",
    "{'authorization': 'Bearer hunter2'}": "hunter2",
    "Proxy-Authorization: Token 9944b09199": "9944b09199",
    "Authorization: AWS4-HMAC-SHA256 Credential=x/s3, Signature=fe5f80f77d": "fe5f80",
    "Cookie: session=abc; csrftoken=hunter2": "hunter2",
    "X-Vault-Token: hunter2hunter2": "hunter2",
    "Ocp-Apim-Subscription-Key: 0123456789abcdef": "0123456789abcdef",
}
KEYS = {
    '{"access_token": "abc123def456ghi789"}': "abc123def456",
    "{'api_key': 'my-secret-key-12345'}": "my-secret-key",
    "401 for api-key: 0123456789abcdef0123456789abcdef": "0123456789abcdef",
    "DefaultEndpointsProtocol=https;AccountKey=ab+cd/ef==;EndpointSuffix=core": "ab+cd",
    "ASIAIOSFODNN7EXAMPLE is not authorized": "IOSFODNN7",
    f"aws_secret_access_key={AWS}": AWS,
    "AWS_SESSION_TOKEN=IQoJb3JpZ2lu": "IQoJb3JpZ2lu",
    "AADSTS7000215: abc8Q~1234567890abcdefABCDEF1234567890ab": "abc8Q~",
    "clientSecret: hunter2": "hunter2",
    '{"private_key_id": "0123456789abcdef"}': "0123456789abcdef",
    f"signed with {AWS}.": AWS,
    "glpat-AbCdEfGhIjKlMnOp1234 was revoked": "AbCdEfGh",
    "gldt-AbCdEfGhIjKlMnOp1234": "AbCdEfGh",
    "github_pat_11ABCDEFG0abcdefghij": "abcdefghij",
    "ghs_ABCDEFGHIJKLMNOPQRSTU": "ABCDEFGH",
    "xoxb-1234567890-abcdef": "1234567890",
    "hvs.CAESIJ1234567890abcdefg": "CAESIJ",
    "bot 123456789:AAF1234567890abcdefghijABCDEFGHIJ12": "AAF12345",
    f"jwt {JWT}": "eyJzdWIi",
    f"next=%3D{JWT}": "eyJzdWIi",
    "expired: eyJhbGciOiJIUzI1NiJ9": "eyJhbGci",
    f"cannot load {PEM.format('')}": "MIIEvQ",
    f"cannot load {PEM.format('RSA ')} as DER": "MIIEvQ",
    f"one line: {PEM.format('OPENSSH ')!r}": "MIIEvQ",
    "cut off: -----BEGIN PRIVATE KEY-----\nMIIEvQIBAD": "MIIEvQ",
}
ALL = PASSWORDS | URLS | HEADERS | KEYS

HARMLESS = [
    *("gpt-4o-mini-2024-07-18", "learning_rate=0.001", "skip_connect", "sk-learn-pipeline", "hf_model_name"),
    *("max_tokens=512, n_tokens: 3", "tokenizer='bert'", "pad_token='<pad>' cls_token: [CLS]", "author: Anna"),
    *("api_key: str | None = None", "password=None", "token: null", "bypass=1, keyword=2, monkey=3"),
    *(
        "http://localhost:8080/a@b",
        '{"url":"http://h:80","to":"a@b"}',
        "see https://example.com/a?b=1&c=2#d",
        "at 12:30 on 2026-01-02T03:04:05Z",
    ),
    *("a basic understanding of bearers", "/usr/lib/python3/dist/packages/numpy/core/src/multiarray/common"),
    *("shapes (3,4) and (5,6)", "-" * 60 + "2", "ACGT-" * 30, "alignment " * 30, "the passage of time; a secretary"),
    *("image repo/name:1.2", "std::vector<int> a", "loss: nan, lr: 1e-05", "c:\\users\\anna", "5 keys: a, b"),
    *("data/exp12/run3/fold4/seed5/epoch10/ckpt600/weights", "Projects/MyModel/DataSet/TrainRun/BestModel/Final"),
]

# What made earlier or simpler patterns look at the rest of the text from each of its places.
PIECES = [
    *("ACGT-", "sk-", "sk_a", "gh-hf_", "AKIA", "key-0123456789abcde", "a", "1", "aB1/", "eyJ", "eyJaaaaaaaaa."),
    *("password", "password=", "password='", "password :", "token: ", "passpasswdpwd", "--", "--key", "--a", "&a="),
    *("://", "://a:", "a:b@", "a.b:ccc", "12345678:", "basic ", "bearer ", "authorization:", "hvs.", "%3d"),
    *("\\", "'", '"', ")", "<", " ", "\n", "*", "-", "-----BEGIN PRIVATE KEY-----", "[removed]", "missing "),
]


@pytest.mark.parametrize(("text", "secret"), ALL.items())
def test_a_secret_is_removed(text: str, secret: str) -> None:
    shown = scrub(f"before {text} after")
    assert secret not in shown
    assert REMOVED in shown
    assert shown.startswith("before ")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("login(password='hunter2', n=3)", f"login(password='{REMOVED}', n=3)"),
        ("?token=abc&model=x", f"?token={REMOVED}&model=x"),
        ("PWD=hunter2;Server=db", f"PWD={REMOVED};Server=db"),
        ('{"secret": "abc", "lr": 1}', f'{{"secret": "{REMOVED}", "lr": 1}}'),
    ],
)
def test_what_stands_around_a_secret_is_kept(text: str, left: str) -> None:
    assert scrub(text) == left


@pytest.mark.parametrize("text", ALL)
def test_what_was_scrubbed_stays_as_it_is(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_secrets_that_are_known_are_removed_unless_they_are_short() -> None:
    assert scrub("mine-own-key and none", ["mine-own-key", "none"]) == f"{REMOVED} and none"


@pytest.mark.parametrize("text", ['{"cls_token": "mean", "auth": "basic"}', "password: a, secret: b"])
def test_names_alone_make_no_key(text: str) -> None:
    assert scrub_keys(text) == text


@pytest.mark.parametrize("text", [f"jwt {JWT}", f"signed with {AWS}.", "redis://:hunter2@cache"])
def test_keys_are_found_without_names(text: str) -> None:
    assert REMOVED in scrub_keys(text)


@given(st.lists(st.sampled_from([*PIECES, *ALL, "x", "é", "İ"]), max_size=12).map("".join))
def test_no_text_is_too_strange(text: str) -> None:
    assert REMOVED in scrub(text) or len(scrub(text)) == len(text)


def seconds(text: str) -> float:
    """The least of two, by this thread's own clock: others share the machine."""
    took = []
    for _ in range(2):
        began = time.thread_time()
        scrub(text)
        took.append(time.thread_time() - began)
    return min(took)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("before", ["", "password='"])
def test_time_grows_with_the_text_and_not_faster(piece: str, before: str) -> None:
    short, long = (seconds(before + piece * (length // len(piece))) for length in (5_000, 40_000))
    assert long < 24 * short + 0.02  # of 8 times the text: what is quadratic takes 64 times as long
    assert long < 2
