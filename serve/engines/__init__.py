"""What writes answers: quoting, language models in process, and servers asked over HTTP."""
