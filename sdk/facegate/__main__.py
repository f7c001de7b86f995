"""`python -m facegate`: the command line where its script is not on the PATH."""

import sys

from facegate.cli import main

sys.exit(main())
