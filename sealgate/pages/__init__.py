"""The web page that checks a receipt in a browser, without network."""
