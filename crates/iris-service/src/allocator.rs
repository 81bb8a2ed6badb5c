//! Who gives memory to the services, and by its C names to librdkafka within them.
//!
//! A client's records are allocated on one thread and freed on another, a million times a second: with glibc's allocator that is
//! a fifth of the classifier's processor time. jemalloc takes half of that, and less memory.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
