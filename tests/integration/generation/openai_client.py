"""Run by test_openai.py in the environment of OpenAI's client: prints what it saw as JSON."""

import json
import ssl
import sys

import openai

address, authority = sys.argv[1:3]
given = json.load(sys.stdin)


def client_of(token):
    context = ssl.create_default_context(cafile=authority)
    return openai.OpenAI(
        base_url=f"https://{address}/v1",
        api_key=token,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=context),
    )


def refused(call, **options):
    """The exception that a refusal is, its code and its parameter."""
    try:
        call(**options)
    except openai.APIStatusError as error:
        return [type(error).__name__, error.code, error.param, error.body["message"]]
    return None


client = client_of(given["token"])
create = client.chat.completions.create
asked = {"model": "tiny", "messages": given["messages"], "max_tokens": 12}

whole = create(**asked)
proven = create(**asked, seed=4, temperature=0.7, extra_body={"sealgate": {"receipt": True}})
chunks = list(
    create(
        **asked,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"sealgate": {"receipt": True}},
    )
)
drawn = [
    create(**asked, seed=seed, temperature=1.0, top_p=0.9).choices[0].message.content
    for seed in (5, 5, 6)
]
stop = whole.choices[0].message.content[8:12]
# As OpenAI's documentation goes on with a chat.
longer = [*given["messages"], whole.choices[0].message, *given["messages"]]
print(
    json.dumps(
        {
            "models": [model.id for model in client.models.list()],
            "model": client.models.retrieve("tiny").id,
            "whole": whole.model_dump(),
            "proven": proven.model_dump(),
            "chunks": [chunk.model_dump() for chunk in chunks],
            "drawn": drawn,
            "stop": stop,
            "stopped": create(**asked, stop=[stop]).model_dump(),
            "unended": create(**{**asked, "max_tokens": None}).usage.completion_tokens,
            "next": create(**{**asked, "messages": longer}).model_dump(),
            "refused": {
                "malformed": refused(create, **{**asked, "max_tokens": 0}),
                "unknown field": refused(create, **asked, logprobs=True),
                "two answers": refused(create, **asked, n=2),
                "unknown model": refused(create, **{**asked, "model": "nobody"}),
                "no model": refused(client.models.retrieve, model="nobody"),
                "chat": refused(create, **{**asked, "messages": [{"role": "x", "content": "y"}]}),
                "streamed": refused(create, **{**asked, "model": "nobody"}, stream=True),
                "stranger": refused(client_of("nobody").chat.completions.create, **asked),
                "attack": refused(
                    create, **{**asked, "messages": [{"role": "user", "content": given["noise"]}]}
                ),
            },
        }
    )
)
