"""The HTTP client: each call has one overall deadline and a size limit on the response."""
