"""The studies that come with Undertow, at the smoke budget: they hold, and no check passes without a result."""

import numpy as np
import pytest
import xarray as xr
from study_examples import plain_jax

from undertow import gallery
from undertow.studies import Study, all_studies

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::RuntimeWarning")]


def poisoned(dataset: xr.Dataset) -> xr.Dataset:
    """The same dataset with NaN for every measured number."""
    return dataset.map(lambda x: x * np.nan if x.dtype.kind in "fiu" else x)


@pytest.mark.parametrize("study", all_studies(), ids=lambda study: study.id)
def test_a_study_holds_and_its_checks_fail_without_a_result(study: Study, tmp_path):
    with plain_jax():  # in double precision other numbers are drawn
        record = gallery.run(study, tmp_path, "smoke")
    if {check.verdict for check in record.checks} == {"not run"}:
        pytest.skip(record.checks[0].reason)
    assert [check.name for check in record.checks if check.verdict != "holds"] == []
    dataset = xr.load_dataset(tmp_path / study.id / "data.nc", engine="scipy")
    passed = [check.name for check in study.checks if check.judge(poisoned(dataset)).verdict == "holds"]
    assert passed == []
    if study.refutation is not None:
        # Refuted by a number that was measured, and not for want of one.
        judged = study.refutation.judge(dataset)
        assert (judged.verdict, judged.measured is not None) == ("fails", True), judged.reason
