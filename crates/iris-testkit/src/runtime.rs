//! A Tokio runtime for blocking callers.

/// Creates a runtime on the current thread.
///
/// # Errors
/// If the system refuses one.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
