"""Stands in for Ollama and Razorpay while schemathesis runs, so that their calls succeed. Prints its address."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from urllib.parse import parse_qs, urlsplit

links = {}
# Every other answer is cut short.
reasons = cycle(["stop", "length"])


class Outside(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/chat":
            pieces = [{"message": {"role": "assistant", "content": word}, "done": False} for word in ("Walk ", "daily.")]
            thought = {"message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": False}
            last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": next(reasons)}
            self.answer(200, thought, *pieces, last)
        else:
            name = f"plink_{len(links):014}"
            links[name] = asked | {
                "id": name,
                "status": "created",
                "short_url": f"https://rzp.io/i/{name}",
                "order_id": None,
                "payments": [],
            }
            self.answer(200, links[name])

    def do_GET(self):
        url = urlsplit(self.path)
        name = url.path.rsplit("/", 1)[-1]
        if url.path.startswith("/v1/payment_links/") and not name:
            reference = parse_qs(url.query).get("reference_id")
            found = [link for link in links.values() if [link["reference_id"]] == reference]
            self.answer(200, {"payment_links": found})
        elif name in links:
            self.answer(200, links[name])
        else:
            self.answer(400, {"error": {"code": "BAD_REQUEST_ERROR", "description": "The id provided does not exist"}})

    def answer(self, status, *objects):
        body = "".join(json.dumps(each) + "\n" for each in objects).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Outside)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
