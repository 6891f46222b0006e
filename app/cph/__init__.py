"""The clients of CPH and IAM: no other package sends requests to them."""
