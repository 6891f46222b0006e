"""What a trial run needs: an embedded Redis, a CPH and IAM stand-in, an inbox, the demo."""
