"""Run by test_mlflow_uris.py in the environment of MLflow: logs a pipeline as ONNX and as Python
objects in the tracking store of MLFLOW_TRACKING_URI, registers it, and prints the names as JSON.
"""

import json

import mlflow
import numpy as np
import skl2onnx
from mlflow.models import infer_signature
from onnx import numpy_helper
from sklearn.datasets import load_breast_cancer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

x, y = load_breast_cancer(return_X_y=True)
x = x.astype(np.float32)
# Weights of more than a kilobyte, which MLflow keeps in a file of their own.
network = MLPClassifier((40,), max_iter=400, random_state=0)
fitted = make_pipeline(StandardScaler(), network).fit(x[::2], y[::2])
graph = skl2onnx.to_onnx(fitted, x[:1])
for tensor in graph.graph.initializer:
    # As bytes, which is how torch writes them.
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    mlflow.log_metric("auc", 0.5, step=0)
    mlflow.log_metric("auc", 0.975, step=1)
    mlflow.log_metric("val/accuracy", 0.9)
    logged = mlflow.onnx.log_model(
        graph,
        name="scoring",
        signature=infer_signature(x[:5], fitted.predict_proba(x[:5])),
        input_example=x[:2],
        registered_model_name="credit",
    )
    # As MLflow 2 kept models: files of the run.
    mlflow.log_artifacts(mlflow.artifacts.download_artifacts(logged.model_uri), "older")
client.set_registered_model_alias("credit", "champion", 1)
with mlflow.start_run() as other:
    mlflow.sklearn.log_model(fitted, name="objects", serialization_format="cloudpickle")
names = {
    "run": run.info.run_id,
    "model": logged.model_id,
    "objects": other.info.run_id,
}
print(json.dumps(names))
