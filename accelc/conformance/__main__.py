"""``python -m accelc.conformance``."""

import sys

from accelc.conformance.command import main

if __name__ == "__main__":
    sys.exit(main())
