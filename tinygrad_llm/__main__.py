"""python -m tinygrad_llm: the command line without its installed name."""

import sys

from tinygrad_llm.cli.main import main

sys.exit(main())
