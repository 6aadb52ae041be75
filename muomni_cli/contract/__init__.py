"""What host and plugins agree on. Plugins import it through :mod:`muomni_cli.api`."""
