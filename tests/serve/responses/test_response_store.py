from __future__ import annotations

from PIL import Image

from ragkit.records import ChatMessage
from ragkit.serve.guards.caller import Caller, become
from ragkit.serve.responses.response_store import ResponseStore


def put(store: ResponseStore, name: str, text: str = "", body_bytes: int = 0) -> None:
    store.put({"id": name}, body_bytes, (ChatMessage("user", text),))


def kept(store: ResponseStore, names: str) -> str:
    return "".join(name for name in names if store.get(name) is not None)


def test_the_oldest_go_when_there_are_too_many() -> None:
    store = ResponseStore(2, 10_000)
    for name in "abc":
        put(store, name)
    assert kept(store, "abc") == "bc"
    assert not store.remove("a")
    assert store.remove("b")
    put(store, "d")
    assert kept(store, "abcd") == "cd"


def test_the_oldest_go_when_they_are_too_large() -> None:
    store = ResponseStore(100, 1000)
    # 200 for a message, 4 for a character.
    put(store, "a", "x" * 50)
    put(store, "b", "x" * 50)
    assert kept(store, "ab") == "ab"
    put(store, "c", "x" * 100)
    assert kept(store, "abc") == "bc"
    put(store, "d", body_bytes=801)
    assert kept(store, "abcd") == "bc"


def test_images_count() -> None:
    store = ResponseStore(100, 1000)
    store.put({"id": "a"}, 0, (ChatMessage("user", "", (Image.new("RGB", (20, 20)),)),))
    assert store.get("a") is None


def test_nothing_is_kept_where_nothing_may_be() -> None:
    store = ResponseStore(0, 1000)
    put(store, "a")
    assert store.get("a") is None


def test_another_keys_response_is_not_there() -> None:
    import contextvars

    store = ResponseStore(10, 10_000)

    def as_other() -> tuple[bool, bool]:
        become(Caller("other"))
        return store.get("a") is None, store.remove("a")

    put(store, "a")
    assert contextvars.copy_context().run(as_other) == (True, False)
    assert store.get("a") is not None
