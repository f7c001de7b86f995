"""`python -m facegate_terminal`."""

import sys

from facegate_terminal._cli import main

sys.exit(main())
