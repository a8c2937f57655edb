"""All services' tests share one process, which no process of the platform does with these libraries."""

# triton, which monai loads, and tensorflow each bring an LLVM; loaded in the other order the process aborts.
import monai  # noqa: F401
