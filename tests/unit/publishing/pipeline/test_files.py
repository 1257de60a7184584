"""Notes of publishing on the files that it makes."""

from publishing.pipeline.files import alike_in_batches


def test_only_answers_of_integers_are_told_to_be_the_same_to_the_last_bit() -> None:
    assert alike_in_batches(quantized=True) == "the same to the last bit alone and in a batch"
    assert alike_in_batches(quantized=False) == "the same to 0.0001 alone and in a batch"
