"""``python -m muomni_cli`` is ``muomni``."""

from muomni_cli.app import main

if __name__ == "__main__":
    main()
