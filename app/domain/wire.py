"""JSON as the bridge writes it: compact, with non-ASCII characters unescaped."""

import json

# One shared encoder: json.dumps with options builds a new one for each call.
to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
