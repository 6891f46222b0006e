"""Asking the cloud: the only place that talks to CPH and IAM."""
