"""Scripts that a job brings along and runs find `/opt/ml` where this machine has it."""

from pathlib import Path

from local.sagemaker.containers import relocate_programs

DRIVERS, DATA = "/opt/ml/input/data/sm_drivers", "/opt/ml/input/data/train"
RUN_DRIVERS = ["/bin/bash", "-c", f"chmod +x {DRIVERS}/sm_train.sh && {DRIVERS}/sm_train.sh"]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_scripts_that_the_command_runs_move_with_their_folder(tmp_path):
    script = write(tmp_path / "input/data/sm_drivers/sm_train.sh", b"cat /opt/ml/input/x > /opt/ml/y\r\n")
    nested = write(tmp_path / "input/data/sm_drivers/scripts/env.py", b'ROOT = f"/opt/ml/{name}"\n')
    relocate_programs(RUN_DRIVERS, [DATA, DRIVERS], tmp_path)
    assert script.read_bytes() == f"cat {tmp_path}/input/x > {tmp_path}/y\r\n".encode()
    assert nested.read_text() == f'ROOT = f"{tmp_path}/{{name}}"\n'


def test_data_stay_as_they_are(tmp_path):
    content = b"path\n/opt/ml/model\n"
    data = write(tmp_path / "input/data/train/a.csv", content)
    neighbour = write(tmp_path / "input/data/sm_drivers_too/a.csv", content)
    relocate_programs(RUN_DRIVERS, [DATA, DRIVERS, f"{DRIVERS}_too"], tmp_path)
    assert data.read_bytes() == neighbour.read_bytes() == content


def test_what_is_not_text_stays_as_it_is(tmp_path):
    content = b"\x80\x04/opt/ml/model"
    binary = write(tmp_path / "input/data/sm_drivers/a.pickle", content)
    relocate_programs(RUN_DRIVERS, [DRIVERS], tmp_path)
    assert binary.read_bytes() == content
