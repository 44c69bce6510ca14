"""`python -m stopline_server` is `stopline`."""

from stopline_server.cli import main

if __name__ == "__main__":
    main()
