"""An HTTP server for models, with OpenAI's interfaces."""
