//! The services' memory allocator, which serves librdkafka within them, too, by the C names.
//!
//! A client's records are allocated on one thread and freed on another, a million times a second: with glibc's allocator that is
//! a fifth of the classifier's processor time. mimalloc takes half of that, and compiles in seconds. How soon it returns free
//! memory to the system is set in `.cargo/config.toml`, since it is compiled in.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
