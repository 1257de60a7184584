"""Fills an installation of release 0.1, from its sources, for the test of the upgrade.

    git archive 5a69eded~1 | tar -x -C OLD                # the last commit of 0.1.0
    python -m venv OLD/venv && OLD/venv/bin/pip install 'OLD[serve]'
    OLD/venv/bin/python tests/vectors/state-0.1/make.py OLD

One model in production, 40 answers about seven people, one of whom is erased, with an anchor behind
them; then the state, less what the test makes anew, as `state.tar.xz`, and a receipt of 0.1.
"""

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
MODEL, ANSWERS, PEOPLE, PORT = "breast-cancer", 40, 7, 9643
ASK = """
import sys
from pathlib import Path
import numpy as np
from safetensors.numpy import load_file
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import Profile, connect
old, state = map(Path, sys.argv[1:3])
answers, people = map(int, sys.argv[3:5])
rows = load_file(old / "demo/data/breast-cancer.safetensors")["x_test"].astype(np.float32)
with connect(Profile.read(state / "people/client/profile.toml")) as channel:
    stub = GRPCInferenceServiceStub(channel)
    for number in range(answers):
        row = rows[number : number + 1]
        asked = oip.ModelInferRequest(model_name="breast-cancer", id=f"old-{number}")
        tensor = asked.inputs.add(name="x", datatype="FP32", shape=row.shape)
        tensor.contents.fp32_contents.extend(row.ravel().tolist())
        asked.parameters["subject"].string_param = f"patient-{number % people}"
        asked.parameters["receipt"].bool_param = True
        try:
            answer = stub.ModelInfer(asked, timeout=60)
        except Exception as error:
            print(number, error.details())
            continue
        (state / "receipt.json").write_text(answer.parameters["receipt"].string_param)
"""


def main() -> None:
    old = Path(sys.argv[1]).absolute()
    with TemporaryDirectory() as folder:
        state = Path(folder) / "state"

        def command(*words: str) -> list[str]:
            code = "from sealgate.cli.main import main; main()"
            return [sys.executable, "-c", code, "--state", str(state), *words]

        def run(*words: str) -> str:
            done = subprocess.run(command(*words), cwd=folder, check=True, stdout=subprocess.PIPE)
            return done.stdout.decode()

        run("init", "--unencrypted-keys", "--port", str(PORT))
        # So that an anchor is there before the gateway ends.
        with (state / "gateway.toml").open("a") as file:
            file.write("\n[limits]\nanchor_every = 1.0\n")
        serving = subprocess.Popen(command("serve"), stdout=subprocess.PIPE)
        try:
            assert serving.stdout is not None
            while b"mutual" not in serving.stdout.readline():
                pass
            model = ("demo/models/breast-cancer-1", "demo/data/breast-cancer.safetensors")
            path, data = (str(old / each) for each in model)
            run("--as", "publisher", "model", "publish", path, "--data", data)
            told = json.loads(run("--as", "publisher", "model", "propose", MODEL, "1", "--json"))
            for person in ("approver-1", "approver-2"):
                run("--as", person, "model", "approve", told["proposal"], "--meaning", "reviewed")
            run("--as", "admin", "model", "promote", told["proposal"], "--reason", "first")
            time.sleep(3)
            asked = [sys.executable, "-c", ASK, str(old), str(state), str(ANSWERS), str(PEOPLE)]
            subprocess.run(asked, check=True)
            run("--as", "admin", "subject", "erase", "patient-3", "--yes")
            print(run("--as", "auditor", "audit", "verify", "--wait", "60"))
        finally:
            serving.terminate()
            serving.wait()
        with tarfile.open(HERE / "state.tar.xz", "w:xz") as archive:
            for name in sorted(os.listdir(state)):
                if name not in ("gateway.log", "uploads"):
                    archive.add(state / name, name)


if __name__ == "__main__":
    main()
