"""Reasons for what the workshop misses say what was measured."""

from benchmarks.training.targets import targets

DEVICES = {"part": "devices", "data": "digits", "split": "tensor", "loss_apart": 7e-4}
EXACT = DEVICES | {"precision": "float64", "loss_apart": 3e-12}


def ways():
    before = {"torch": 300.0, "onnx": 100.0}
    told = {
        way: {
            "part": "windows",
            "way": way,
            "mebibytes_before": before[way.split()[0]],
            "mebibytes_peak": peak,
            "mebibytes_added": peak - before[way.split()[0]],
        }
        for way, peak in {
            "torch fused": 400.0,
            "torch fused, blocks": 350.0,
            "torch window": 330.0,
            "onnx fused": 200.0,
            "onnx window": 130.0,
        }.items()
    }
    return [*told.values(), {"part": "windows", "way": "accuracy", "of_full": {"mean": 99.0}}]


def test_a_difference_of_float32_is_shown_beside_double_precision():
    single, double = targets([DEVICES, EXACT])
    assert not single.met
    assert "in double precision the same steps are 3e-12 apart" in single.why
    assert double.met
    assert "in double precision" in double.name


def test_what_no_window_could_save_of_a_process_is_said():
    found = {target.name: target for target in targets(ways())}
    peak = found["torch window: percent less memory than torch fused, the whole process"]
    assert round(peak.value, 1) == 17.5
    assert "of 400 MiB 300 stand there" in peak.why
    assert "would save 25%" in peak.why
    onnx = found["onnx window: percent less memory than onnx fused, the whole process"]
    assert (onnx.met, onnx.why) == (True, "")
