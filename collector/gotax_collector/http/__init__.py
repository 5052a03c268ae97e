"""The collector's web page and its HTTP/JSON API."""
