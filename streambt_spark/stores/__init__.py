"""Where bars come from and are kept: files, frames, MongoDB, snapshots."""
