"""A bundle as a static site: ``muomni export --web``. The folder ``npm`` holds the runtime in TypeScript."""
