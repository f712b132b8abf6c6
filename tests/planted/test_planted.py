"""The table of planted faults is that of the tree: what is not there cannot be planted."""

from plant import ROOT, read_faults


def test_every_fault_can_be_planted():
    for fault in read_faults([]):
        assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.old) == 1, fault
        assert all((ROOT / path).exists() for path in fault.tests), fault
