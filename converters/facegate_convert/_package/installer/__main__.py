"""The package's own program: `python3 door-rpi4.pyz COMMAND`."""  # noqa: INP001 - the top of an archive

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - before anything is imported that an older Python cannot parse
    sys.stderr.write("error: this needs Python 3.10 or newer\nhint: run it with the python3 of a newer system\n")
    sys.exit(5)

from facegate_installer._cli import main

sys.exit(main())
