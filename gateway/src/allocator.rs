//! What is asked of the C library's allocator.
#![allow(
    unsafe_code,
    reason = "mallopt is a C function; nothing else reaches the setting from inside the process"
)]

/// Has threads share one arena for each core, where glibc has up to eight. Pages of the store and buffers of messages are
/// freed by other threads than those that asked for them, and every arena keeps what it once had: with a hundred million
/// messages waiting that is 80 MiB. Who sets `MALLOC_ARENA_MAX` is obeyed.
pub fn limit_arenas() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if let Some(cores) =
        std::thread::available_parallelism().ok().and_then(|cores| i32::try_from(cores.get()).ok())
    {
        // SAFETY: it changes one number, before there is a second thread.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, cores) };
    }
}
