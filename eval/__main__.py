"""Lists the commands: python -m eval"""

from toolkit.core.rooms import main

if __name__ == "__main__":
    main(__file__)
