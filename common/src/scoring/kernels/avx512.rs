pub(super) fn kernels() -> Option<super::Kernels> { None }
