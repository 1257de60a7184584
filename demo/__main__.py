"""`python -m demo`: plays the whole story once, in a fresh folder, and says what held.

The folder is `demo/state`, with `--in-build` `build/demo`: where tests that read our sources run
meanwhile, they do not meet it.
"""

import shutil
import sys
import time
from pathlib import Path

import grpc

from demo.stage import Stage, StepFailed
from demo.story import STEPS
from sealgate.reasons import SealgateError


def main() -> int:
    here = Path(__file__).parent
    state = here.parent / "build" / "demo" if "--in-build" in sys.argv[1:] else here / "state"
    shutil.rmtree(state, ignore_errors=True)
    stage = Stage(state)
    began = time.monotonic()
    try:
        for step in STEPS:
            step(stage)
    except (StepFailed, TimeoutError, grpc.RpcError, SealgateError) as error:
        stage.check("the story", False, str(error))
    finally:
        stage.stop_console()
        stage.stop_gateway()
    held = stage.show_table()
    stage.console.print(f"{time.monotonic() - began:.0f} seconds; everything is in {state}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
