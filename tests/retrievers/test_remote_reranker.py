import socket
import time

import pytest
from PIL import Image
from starlette.responses import PlainTextResponse

from ragkit.errors import ConfigError, EngineError
from ragkit.records import Hit, PageImage, Passage, Query
from ragkit.retrievers.remote_reranker import RemoteReranker
from ragkit.serve.chat.image_url import image_of_url
from tests.reranker_fakes import make_hits, score_by_shared_words, serve_rerank

HITS = make_hits(["dog ran", "the cat sat", "cat"], title="t")
QUERY = Query("the cat sat")


def rerank_against(answer, **settings):
    with serve_rerank(answer) as url:
        reranker = RemoteReranker(url, **settings)
        try:
            return reranker.rerank(QUERY, HITS)
        finally:
            reranker.close()


def test_scores_are_matched_by_index():
    ranked = rerank_against(score_by_shared_words)
    assert [(hit.passage.key, hit.score) for hit in ranked] == [(1, 0.75), (2, 0.5), (0, 0.0)]


def test_the_request_is_what_servers_expect(monkeypatch):
    monkeypatch.setenv("RERANK_KEY", "secret-1")
    seen = []

    def answer(body, headers):
        seen.append((body, headers))
        return score_by_shared_words(body, headers)

    rerank_against(answer, model="ranker", api_key_env="RERANK_KEY")
    body, headers = seen[0]
    assert body == {
        "model": "ranker",
        "query": "the cat sat",
        "documents": ["t dog ran", "t the cat sat", "t cat"],
        "top_n": 3,
    }
    assert headers["authorization"] == "Bearer secret-1"


def test_no_key_and_no_model_are_not_sent():
    seen = []

    def answer(body, headers):
        seen.append((body, headers))
        return score_by_shared_words(body, headers)

    rerank_against(answer)
    assert "model" not in seen[0][0]
    assert "authorization" not in seen[0][1]


def test_an_error_status_is_told_with_url_status_and_body():
    with pytest.raises(
        EngineError, match=r"http://127\.0\.0\.1:\d+/v1/rerank answered status 503: model is load"
    ) as e:
        rerank_against(lambda body, headers: PlainTextResponse("model is loading " * 100, 503))
    assert len(str(e.value)) < 500


def test_a_redirect_is_not_followed():
    with pytest.raises(EngineError, match="status 307"):
        rerank_against(lambda b, h: PlainTextResponse("", 307, headers={"location": "http://127.0.0.1:9/"}))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([(0, 0.5), (1, 0.4)], "scored 2 of 3 documents"),
        ([(0, 0.5), (1, 0.4), (3, 0.3)], "index 3, out of range or twice, for 3 documents"),
        ([(0, 0.5), (1, 0.4), (-1, 0.3)], "index -1, out of range"),
        ([(0, 0.5), (1, 0.4), (1, 0.3)], "index 1, out of range or twice"),
        ([(0, 0.5), (1, None), (2, 0.3)], 'finite "relevance_score"'),
        ([(0, 0.5), ("1", 0.2), (2, 0.3)], 'without "index"'),
        ([(0, 0.5), (True, 0.2), (2, 0.3)], 'without "index"'),
    ],
)
def test_results_that_do_not_fit_the_documents_are_refused(results, message):
    answer = {"results": [{"index": index, "relevance_score": score} for index, score in results]}
    with pytest.raises(EngineError, match=message):
        rerank_against(lambda body, headers: answer)


@pytest.mark.parametrize("answer", [{"data": []}, [], {"results": {"0": 1}}, {"results": ["x"] * 3}])
def test_another_shape_is_refused(answer):
    with pytest.raises(EngineError, match="answered"):
        rerank_against(lambda body, headers: answer)


def test_an_answer_that_is_not_json_is_refused():
    with pytest.raises(EngineError, match="not JSON: <html>"):
        rerank_against(lambda body, headers: PlainTextResponse("<html>", 200))


def test_a_slow_server_is_given_up():
    def answer(body, headers):
        time.sleep(0.6)
        return score_by_shared_words(body, headers)

    with pytest.raises(EngineError, match=r"no answer within 0\.2 s"):
        rerank_against(answer, timeout_s=0.2)


def test_a_server_that_is_not_there_is_told_without_the_password():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    reranker = RemoteReranker(f"http://user:hidden@127.0.0.1:{port}/v1/rerank?key=hidden")
    with pytest.raises(EngineError, match=rf"http://127\.0\.0\.1:{port}/v1/rerank cannot be reached") as e:
        reranker.rerank(QUERY, HITS)
    assert "hidden" not in str(e.value)
    reranker.close()


def test_settings_are_checked_at_once(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY, which is not set"):
        RemoteReranker("http://host/v1/rerank", api_key_env="NO_SUCH_KEY")
    for url in (
        "",
        "host:8000/v1/rerank",
        "ftp://host/rerank",
        "http://host:99999/rerank",
        "http://[/rerank",
    ):
        with pytest.raises(ConfigError, match="no HTTP URL"):
            RemoteReranker(url)


def test_a_page_picture_is_sent_as_vllm_takes_it():
    seen = []

    def answer(body, _headers):
        seen.append(body)
        return {"results": [{"index": 0, "relevance_score": 0.25}, {"index": 1, "relevance_score": 0.75}]}

    page = PageImage("scan.pdf", 3, 4, 2, load=lambda: Image.new("RGB", (4, 2), "blue"))
    picture = Hit(0.9, Passage(9, "scan.pdf", 3, 0, 0, "", image=page))
    with serve_rerank(answer) as url:
        reranker = RemoteReranker(url)
        ranked = reranker.rerank(QUERY, [HITS[0], picture])
        reranker.close()
    assert [hit.passage.key for hit in ranked] == [9, 0]
    text, shown = seen[0]["documents"]
    assert text == "t dog ran"
    (part,) = shown["content"]
    assert part["type"] == "image_url"
    sent = image_of_url(part["image_url"]["url"])
    assert (sent.size, sent.getpixel((0, 0))) == ((4, 2), (0, 0, 255))
