"""Asks a running server by Python's `openai` and `langchain-openai`: `python scripts/python-clients.py http://127.0.0.1:8080/v1`. A line a check."""
import sys

import openai
from langchain_openai import ChatOpenAI, OpenAI

base = sys.argv[1]
client = openai.OpenAI(base_url=base, api_key="none")
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "Where does Pip live?"}]
failed = 0


def check(name, ok, told=""):
    global failed
    failed += not ok
    print(f"{'ok  ' if ok else 'FAIL'} {name}{': ' if told else ''}{told}")


def error(name, kind, call):
    try:
        call()
        check(name, False, "nothing was raised")
    except kind as e:
        check(name, True, f"{type(e).__name__} {e}"[:160])


print(f"openai {openai.__version__}, {model}")
whole = client.chat.completions.create(model=model, messages=messages, seed=1, max_completion_tokens=30)
text = whole.choices[0].message.content
check("chat", whole.choices[0].finish_reason in ("stop", "length"), repr(text))
events = list(client.chat.completions.create(model=model, messages=messages, seed=1, max_completion_tokens=30, stream=True,
                                             stream_options={"include_usage": True}))
check("stream", "".join(e.choices[0].delta.content or "" for e in events if e.choices) == text)
check("usage in the stream", events[-1].usage.total_tokens == whole.usage.total_tokens)
with client.chat.completions.stream(model=model, messages=messages, n=3, seed=1, max_completion_tokens=10) as stream:
    for _ in stream:
        pass
    check("stream helper, n = 3", len(stream.get_final_completion().choices) == 3)
told = client.chat.completions.create(model=model, messages=messages, logprobs=True, top_logprobs=3, max_tokens=5)
content = told.choices[0].logprobs.content
check("logprobs", len(content[0].top_logprobs) == 3 and content[0].logprob <= 0)
completion = client.completions.create(model=model, prompt="Once", max_tokens=5, logprobs=2, echo=False)
check("completion", 0 < len(completion.choices[0].logprobs.tokens) <= completion.usage.completion_tokens, repr(completion.choices[0].text))
check("models.retrieve", client.models.retrieve(model).id == model)
error("bad value", openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=messages, temperature=-1))
error("image", openai.BadRequestError, lambda: client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]))
error("too long", openai.BadRequestError, lambda: client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "word " * 5000}]))
error("no such model", openai.NotFoundError, lambda: client.models.retrieve("none"))
for event in client.chat.completions.create(model=model, messages=messages, stream=True):
    break
check("left a stream", True)

chat = ChatOpenAI(base_url=base, api_key="none", model=model, seed=1, max_tokens=30, temperature=1)
check("langchain: chat", chat.invoke("Where does Pip live?").content == text)
check("langchain: stream", "".join(c.content for c in chat.stream("Where does Pip live?")) == text)
check("langchain: a talk", bool(chat.invoke([("system", "Be brief."), ("user", "Hello"), ("assistant", "Hello!"), ("user", "Who fears thunder?")]).content))
check("langchain: batch", len(chat.batch(["Where does Pip live?", "Who fears thunder?"])) == 2)
answer = chat.bind(logprobs=True).invoke("Where does Pip live?")
check("langchain: logprobs and usage", len(answer.response_metadata["logprobs"]["content"]) > 0 and answer.usage_metadata["output_tokens"] > 0)
check("langchain: completion", isinstance(OpenAI(base_url=base, api_key="none", model=model, max_tokens=5).invoke("Once"), str))
error("langchain: bad value", openai.BadRequestError, lambda: ChatOpenAI(base_url=base, api_key="none", model=model, temperature=-1).invoke("a"))
sys.exit(1 if failed else 0)
