"""Stands in for vLLM's server where tests are about its life: started as that is, answers at once, has a child.

Run as a script with vLLM's arguments. --sick: it is never well. --crash: it ends before it is well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPLY = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--model", "--served-model-name", "--host", "--port", "--max-model-len"):
        parser.add_argument(name)
    parser.add_argument("--sick", action="store_true")
    parser.add_argument("--crash", action="store_true")
    arguments = parser.parse_args()
    print("loading", arguments.model, "with", arguments.max_model_len, flush=True)  # noqa: T201
    if arguments.crash:
        sys.exit("there is no such model")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    card = {"id": arguments.served_model_name, "owned_by": "vllm", "max_model_len": 321, "child": child.pid}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                self.answer({}, 503 if arguments.sick else 200)
            elif self.headers["authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}":
                self.answer({}, 401)
            else:
                self.answer({"object": "list", "data": [card]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.answer({"count": 77} if self.path == "/tokenize" else REPLY)

        def answer(self, body: object, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer((arguments.host, int(arguments.port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
