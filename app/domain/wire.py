"""JSON as we write it: compact and not escaped."""

import json

# One encoder for all: json.dumps builds a new one for each call that is not plain.
to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
