//! What the runner and its tests share: reading a lake's tables as other engines see them.

pub mod interop;
