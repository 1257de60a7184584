"""MLServer's own runtime for XGBoost with the booster that lies beside the ONNX file."""

from pathlib import Path

from graph import arguments
from mlserver_runtime import start

if __name__ == "__main__":
    path, port, setting = arguments()
    start("mlserver_xgboost.XGBoostModel", str(Path(path).with_suffix(".json")), port, setting)
