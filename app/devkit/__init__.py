"""Tools for trials and tests: an embedded Redis, a CPH and IAM stand-in, an inbox, the demo."""
