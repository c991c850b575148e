"""Has the model of a release complete, as `helm test`: exits with 0 where it answered. Needs nothing but Python."""

import json
import os
import ssl
import urllib.request
from pathlib import Path

ROOT = Path(os.environ.get("TLS_ROOT", "/etc/repoloom"))
context = None
if os.environ["ADDRESS"].startswith("https:"):
    authority = ROOT / "tls/ca.crt"
    context = ssl.create_default_context(cafile=authority if authority.exists() else None)  # None: the image's
    if (ROOT / "client/tls.crt").exists():
        context.load_cert_chain(ROOT / "client/tls.crt", ROOT / "client/tls.key")
request = urllib.request.Request(
    os.environ["ADDRESS"] + "/v1/completions",
    json.dumps({"prompt": "def add(a, b):\n", "suffix": "\n", "max_tokens": 8, "temperature": 0}).encode(),
    {"Content-Type": "application/json"},
)
if token := os.environ.get("TOKEN"):
    request.add_header("Authorization", f"Bearer {token}")
with urllib.request.urlopen(request, timeout=120, context=context) as response:
    answer = json.load(response)
print(json.dumps(answer))
assert answer["usage"]["completion_tokens"] >= 1, "the model wrote nothing"
