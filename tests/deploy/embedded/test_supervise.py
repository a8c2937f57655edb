import errno
import io

from deploy.embedded.supervise import ForgivingStream


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_nothing() -> None:
    stream = ForgivingStream(FullDisk())
    assert stream.write("lost") == 4
    stream.flush()


def test_what_can_be_written_is_written() -> None:
    below = io.StringIO()
    ForgivingStream(below).write("kept")
    assert below.getvalue() == "kept"
