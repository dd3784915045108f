"""How secrets are kept out of what is written down.

Two kinds are found: what looks like a key wherever it stands, and what stands beside a secret's name. All of it takes
time in proportion to the text, whatever the text: repetitions are bounded, or nothing that could fail follows them.
"""

import re
import string
from collections.abc import Iterable
from typing import Final

REMOVED: Final = "[removed]"
SHORTEST_SECRET: Final = 6  # local servers are given keys such as "none": removing those would only garble the text

# -- what looks like a key: a word of letters, digits, `-`, `_`, and the stars of a masked key

_WORD: Final = re.compile(r"[-\w*]{12,}", re.ASCII)
SHORTEST_TOKEN: Final = 40  # characters: names and versions that have digits are shorter, most tokens longer

# What providers begin their keys with. Some begin words as well, such as `sk-learn` and `hf_model_name`: a key goes on
# with digits, or stars where it is masked, or is one long word.
_PREFIX: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|hf|gh[opsur]|pplx|r8|tgp|npm|nvapi|pypi|glsa|jina)([-_])"
)
SHORTEST_KEY: Final = {"-": 8, "_": 16}  # characters after the prefix
_LONG_WORD: Final = {"-": re.compile("[A-Za-z]{16}"), "_": re.compile("[A-Za-z]{20}")}
_CLEAR_PREFIX: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:AIza|A[A-Z]{3}(?<=A3TX|AKIA|ASIA|ABIA|ACCA|AROA|AIDA)(?=[A-Z0-9]{4})|GOCSPX-|GR1348941(?=[-\w]{16})|github_pat_|whsec_"
    r"|gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas)-|xox[a-z]-|xapp-|dop_v1_|shp(?:at|ca|pa|ss)_|dapi(?=[0-9a-f]{8})"
    r"|sq0[a-z]{3}-|key-(?=[0-9a-f]{16}))"
)

# Base64 with `/` or `+` in it, as keys of AWS and Azure are. Where a path goes on with letters of one case, a key
# changes between capitals, small letters and digits at more than every second character.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_CHANGE: Final = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])")
CHANGES: Final = 0.3

_SHAPES: Final = (
    re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----.*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)", re.DOTALL
    ),
    # A URL's user and password. Both may hold an `@`; a password with its user before it may hold all but blanks, if it
    # is no port.
    re.compile(r"(?<=://)[^\s/@:'\"]{0,128}:(?![0-9]{1,5}(?:[^\w@]|\Z))\S{1,256}(?=@)"),
    re.compile(r"(?<=://)[^\s/'\"]{1,256}(?=@)"),
    # The same without a scheme: `user:password@tcp(host)/`, `user:password@host:3306`.
    re.compile(r"(?<![\w.@/:+-])[\w.+-]{1,64}:[^\s/@:'\"]{3,128}(?=@(?:tcp\(|[A-Za-z0-9.-]{1,128}[:/]))"),
    # JSON Web Tokens begin with `{"` in base64; the tokens of Vault, Google and SendGrid have a dot in them.
    re.compile(r"(?:(?<![-\w])|(?<=%[0-9A-Fa-f]{2}))eyJ[-\w]{8,}(?:\.[-\w]*){0,4}", re.ASCII),
    re.compile(r"(?<![-\w.])(?:hv[sbr]|ya29|SG)\.[-\w.]{16,}", re.ASCII),
    re.compile(r"(?<![-\w~.])[-\w~.]{3}[0-9]Q~[-\w~.]{31,34}", re.ASCII),  # Azure's client secrets
    re.compile(r"(?<![-\w])[0-9]{8,10}:[-\w]{35}(?![-\w])", re.ASCII),  # Telegram
    re.compile(r"(?<=hooks\.slack\.com/services/)[\w/]+", re.ASCII),
    re.compile(r"(?i)(?<=\bbearer )[^\s\"']+"),
    # `Basic` is a word of prose as well, which goes on with small letters alone.
    re.compile(r"(?<=\b(?i:basic) )(?=[a-z]{0,40}[A-Z0-9+/=])[A-Za-z0-9+/]{8,}={0,2}"),
)

# -- what stands beside a secret's name: `password=...`, `"api_key": "..."`, `<token>...`, `--secret ...`

_QUOTE: Final = r"\\{0,8}(?:\"\"\"|'''|[\"'])"  # with its backslashes, inside a text that is quoted itself
_IS: Final = (
    rf"(?:(?:{_QUOTE})?\]?\s{{0,3}}(?::=|=>|={{1,2}}|:|%3[ad])\s{{0,3}}|>(?=[^\s<]))(?:(?:basic|bearer|token) )?"
)
# Both look for small letters, in text that is made so: to ignore case at every character takes ten times as long. So
# does looking at what must not stand before a name, before the name itself.
_SMALL: Final = {ord(letter): letter.lower() for letter in string.ascii_uppercase}
_BOUND: Final = re.compile(
    "(?:"
    # Names that any letters may follow: `password2`, `secret_access_key`, `AWS_ACCESS_KEY_ID`.
    r"(?:(?:passw(?:or)?d|passphrase|passcode|secret|credential|session_?id|sharedaccesssignature"
    r"|(?:api|access|private|signing|account|shared|encryption|auth|master|storage|subscription|ssh|service)[-_. ]?key)"
    r"[\w.-]{0,24}"
    # Names that must end so: not `author`, `tokenizer`, and not a tokenizer's special tokens.
    r"|pwd|pass(?<![^\W_]pass)|auth|sid(?<![^\W_]sid)"
    r"|token(?<!(?:pad|cls|eos|bos|unk|sep)_token)(?<!mask_token)(?:[-_]?(?:value|string|secret))?"
    rf"){_IS}"
    # In a query short names are clear as well.
    r"|[?&;](?:key|code|sign?|signature|x-[a-z]{2,8}-(?:signature|credential))="
    # Words before a quotation, and options of a command, in one text or in the list that it was called with.
    rf"|(?:passw(?:or)?d|identified by)\s{{1,3}}(?={_QUOTE})"
    r"|--(?<![\w-]--)[a-z-]{0,24}(?:password|passphrase|pass|pwd|token|secret|key)[a-z-]{0,12}"
    rf"(?:=|(?:{_QUOTE})?,?\s{{1,3}})(?!-)"
    rf"|-(?:u|-user)(?<![\w-]-u)(?<![\w-]--user)(?:=|(?:{_QUOTE})?,?\s{{1,3}})(?={_QUOTE}?[^\s:'\"]{{1,64}}:)"
    ")"
)
_HEADER: Final = re.compile(rf"(?:authorization|cookie)(?:{_QUOTE})?\s{{0,3}}[:=]\s{{0,3}}")
# What is no secret: nothing, a type, and what was removed before.
_NO_SECRET: Final = re.compile(
    r"(?i)\[removed\]|(?:none|null|true|false|nil|str|bytes|int|float|bool|optional)\b(?!['\"])"
)
_QUOTED: Final = re.compile(
    rf"(?:[bru]{{1,2}}|[\w.]{{1,24}}\()?(?P<quote>{_QUOTE})(?P<value>(?:(?!(?P=quote))(?:\\+.|[^\\\n]))*)"
)
# A value without quotation marks ends before a blank, a mark that closes something, or the next name of a list.
_CLOSING: Final = r"\\{0,8}['\"](?=[\s,;:)}\]>\\]|\Z)"
_END_OF_WORD: Final = re.compile(rf"\s|{_CLOSING}|[&;,](?=[\w.-]{{1,40}}(?:=|%3[dD]))|</|\Z")
_END_OF_LINE: Final = re.compile(rf"\n|{_CLOSING}|\Z")
_PUNCTUATION: Final = ",.;)}]"


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Remove `secrets`, and all that looks like one by itself or by the name that it stands beside."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, REMOVED)
    text = scrub_keys(text)
    return _scrub_bound(_scrub_bound(text, _HEADER, _END_OF_LINE), _BOUND, _END_OF_WORD)


def scrub_keys(text: str) -> str:
    """Remove what looks like a key, a token or a URL's password by itself.

    For text whose names are those of parameters: there a value beside `cls_token` or `auth` is a choice.
    """
    for pattern in _SHAPES:
        text = pattern.sub(REMOVED, text)
    return _BASE64.sub(_without_base64, _WORD.sub(_without_key, text))


def _without_key(found: re.Match[str]) -> str:
    """A word without the key that it is or ends with."""
    word = found.group()
    digits = max(map(word.rfind, "0123456789*"))
    clear = _CLEAR_PREFIX.search(word)
    if clear and len(word) - clear.end() >= SHORTEST_KEY["-"]:
        return word[: clear.start()] + REMOVED
    for prefix in _PREFIX.finditer(word):
        joint, begin = prefix[1], prefix.end()
        long_enough = len(word) - begin >= SHORTEST_KEY[joint]
        if (long_enough and digits >= begin) or _LONG_WORD[joint].match(word, begin):
            return word[: prefix.start()] + REMOVED
    name = word.strip("-*_")
    return REMOVED if len(name) >= SHORTEST_TOKEN and not name.isalpha() and digits >= 0 else word


def _without_base64(found: re.Match[str]) -> str:
    text = found.group()
    return REMOVED if len(_CHANGE.findall(text)) >= CHANGES * len(text) else text


def _scrub_bound(text: str, name: re.Pattern[str], end: re.Pattern[str]) -> str:
    """Remove the values that stand after a `name`, up to their quotation mark or to `end`."""
    small = text.lower() if text.isascii() else text.translate(_SMALL)  # the length must stay
    pieces, done = [], 0
    for found in name.finditer(small):
        begin = found.end()
        if begin < done or _NO_SECRET.match(text, begin):
            continue
        if quoted := _QUOTED.match(text, begin):
            begin, stop = quoted.span("value")
        else:
            last = end.search(text, begin)
            assert last is not None  # each pattern of an end matches at the end of the text
            stop = begin + len(_without_punctuation(text[begin : last.start()]))
        if begin < stop:
            pieces += [text[done:begin], REMOVED]
            done = stop
    return "".join([*pieces, text[done:]])


def _without_punctuation(word: str) -> str:
    """A word without the marks behind it, which may be a sentence's own."""
    bare = word.rstrip(_PUNCTUATION)
    return bare + REMOVED[-1] if (bare + REMOVED[-1]).endswith(REMOVED) else bare
