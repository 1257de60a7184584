"""Chats are written as transformers writes them, and a template comes to an end."""

import gc
import os
import threading
from collections.abc import Iterator

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from generation.models import chat_template
from generation.models.chat_template import ChatTemplate
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

CHAT = [
    {"role": "system", "content": "Answer <b>briefly</b>."},
    {"role": "user", "content": '  Größer \U0001f600 als "5"? \n'},
    {"role": "assistant", "content": "Yes"},
    {"role": "user", "content": "Why?"},
]
TEMPLATES = {
    "blocks": "{% for m in messages %}\n  {% if loop.first %}\n[{{ m.role }}]\n  {% endif %}\n"
    "{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}\n"
    "{% if add_generation_prompt %}> {% endif %}",
    "break": "{{ bos_token }}{% for m in messages %}{% if loop.index == 3 %}{% break %}{% endif %}"
    "{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
    "json": "{{ messages | tojson(indent=2) }}{{ messages[0] | tojson }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% endfor %}{{ ns.n }}{{ tools is none }}{{ documents is none }}{{ nothing is defined }}",
    "generation": "{% for m in messages %}{% generation %}\n{{ m.content }}\n{% endgeneration %}"
    "{% endfor %}",
    "macro": "{% macro said(m) %}<{{ m.role }}>{{ m.content }}{% endmacro %}"
    "{% for m in messages %}{{ said(m) }}{% endfor %}{{ dict(a=1).a }}",
}
KNOWN = {"bos_token": "<s>", "eos_token": "</s>"}
HOSTILE = {
    "time": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "memory": "{% set ns = namespace(x='x' * 1000000) %}{% for a in range(40) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "one step": "{{ (7 ** (99999999 * messages | length)) % 2 }}",
}
# Nothing but what makes a template hostile where it is asked to.
TRIGGERED = "{% if messages[0].content == 'now' %}HOSTILE{% endif %}{{ messages[0].content }}"


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Iterator[ChatTemplate]:
    template = ChatTemplate(request.param, KNOWN)
    yield template
    template.close()


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("made", TEMPLATES.values(), ids=TEMPLATES, indirect=True)
def test_a_chat_is_written_as_transformers_writes_it(made: ChatTemplate) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=made.text, **KNOWN)
    chats = [CHAT, CHAT[1:2]]
    assert made.write(chats) == [
        theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        for chat in chats
    ]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_template_that_comes_to_no_end_is_ended(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    template = ChatTemplate(TRIGGERED.replace("HOSTILE", HOSTILE[kind]), {})
    assert template.write([say("first")]) == ["first"]
    with monkeypatch.context() as patched:
        patched.setattr(chat_template, "SECONDS", 1.0)
        with refused(Reason.WORKER_LIMIT):
            template.write([say("now")])
    assert template.write([say("after")]) == ["after"]
    template.close()


@pytest.mark.parametrize("made", ["{{ messages[0].content * 1000 }}"], indirect=True)
def test_a_text_is_bounded(made: ChatTemplate) -> None:
    assert made.write([say("ab")], 2000) == ["ab" * 1000]
    with refused(Reason.PROMPT_TOO_LONG):
        made.write([say("ab")], 1999)
    assert made.write([say("a")], 2000) == ["a" * 1000]


@pytest.mark.parametrize(
    "made",
    [
        "{{ raise_exception('no system') }}",
        "{{ messages[0].content.missing.more }}",
        "{{ 1 / 0 }}",
        "{% for",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        r"{{ '\ud800' }}",
    ],
    indirect=True,
)
def test_what_a_template_refuses_or_may_not_do_is_no_chat(made: ChatTemplate) -> None:
    for _ in range(2):
        with refused(Reason.CHAT_MALFORMED):
            made.write([say("a"), say("b")])


def test_the_worker_outlives_the_thread_that_asked_first() -> None:
    """The kernel ends it with the thread that started it."""
    made = ChatTemplate("{{ messages[0].content }}", {})
    first = threading.Thread(target=made.write, args=([say("a")],))
    first.start()
    first.join()
    for _ in range(100):
        assert made.write([say("b")]) == ["b"]
    made.close()


def test_the_worker_ends_with_its_template() -> None:
    made = ChatTemplate("{{ messages[0].content }}", {})
    made.write([say("a")])
    before = len(os.listdir("/proc/self/fd"))
    made.close()
    assert len(os.listdir("/proc/self/fd")) < before
    assert made.write([say("b")]) == ["b"]
    del made
    gc.collect()
