//! Gives the TLS connections of existing clients another certificate, key and authorities.
//!
//! librdkafka reads these files once, when a client is created, and exposes neither a way to read them again nor the TLS
//! context that it creates. OpenSSL reports each context that a thread creates to a callback of its extra data. A callback on
//! that context then sets the certificate at each handshake. So a renewed certificate needs no new client, which would need
//! a rebalance or abort a transaction.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use foreign_types::ForeignType as _;
use openssl::ssl::SslContext;
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl_sys::{
    CRYPTO_EX_DATA, CRYPTO_EX_INDEX_SSL_CTX, CRYPTO_get_ex_new_index, EVP_PKEY, SSL, SSL_CTX,
    SSL_CTX_get_cert_store, SSL_CTX_up_ref, X509_STORE_add_cert, stack_st_X509,
};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaResult;

use crate::client::credentials::Identity;

unsafe extern "C" {
    fn SSL_CTX_set_cert_cb(
        context: *mut SSL_CTX,
        callback: Option<unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int>,
        argument: *mut c_void,
    );
    fn SSL_use_cert_and_key(
        ssl: *mut SSL,
        certificate: *mut openssl_sys::X509,
        key: *mut EVP_PKEY,
        chain: *mut stack_st_X509,
        overwrite: c_int,
    ) -> c_int;
}

thread_local! {
    /// The contexts that this thread has created and not freed, while it [creates](create) a client.
    static CREATED: RefCell<Option<Vec<*mut SSL_CTX>>> = const { RefCell::new(None) };
}

/// Creates a client. Returns it with the TLS contexts that librdkafka has created for it.
///
/// # Errors
/// The client's error if a setting cannot be used.
pub(crate) fn create<T, C>(config: &ClientConfig, context: C) -> KafkaResult<(T, Vec<SslContext>)>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    static OBSERVED: OnceLock<()> = OnceLock::new();
    OBSERVED.get_or_init(observe);
    CREATED.set(Some(Vec::new()));
    let client = config.create_with_context::<C, T>(context);
    let contexts = CREATED.take().unwrap_or_default();
    // A client that could not be created has freed its contexts.
    let client = client?;
    let owned = |context: *mut SSL_CTX| {
        // SAFETY: the context was created on this thread, and only dropping the client that was created meanwhile frees it. The
        // client is alive.
        unsafe { SSL_CTX_up_ref(context) };
        // SAFETY: dropping the returned value releases the reference that was just added.
        unsafe { SslContext::from_ptr(context) }
    };
    Ok((client, contexts.into_iter().map(owned).collect()))
}

/// Makes OpenSSL report each context that is created or freed from now on.
fn observe() {
    openssl::init();
    // SAFETY: the callbacks have the types that OpenSSL expects and live as long as the process.
    unsafe {
        CRYPTO_get_ex_new_index(
            CRYPTO_EX_INDEX_SSL_CTX,
            0,
            ptr::null_mut(),
            Some(note_created),
            None,
            Some(note_freed),
        );
    }
}

unsafe extern "C" fn note_created(
    context: *mut c_void,
    _: *mut c_void,
    _: *mut CRYPTO_EX_DATA,
    _: c_int,
    _: c_long,
    _: *mut c_void,
) {
    // The context is not complete yet, so only its address is noted.
    note(|created| created.push(context.cast()));
}

unsafe extern "C" fn note_freed(
    context: *mut c_void,
    _: *mut c_void,
    _: *mut CRYPTO_EX_DATA,
    _: c_int,
    _: c_long,
    _: *mut c_void,
) {
    note(|created| created.retain(|&other| other != context.cast()));
}

/// Changes the contexts that this thread has created, if it is creating a client.
fn note(change: impl FnOnce(&mut Vec<*mut SSL_CTX>)) {
    let _ = CREATED.try_with(|created| created.borrow_mut().as_mut().map(change));
}

/// The certificate and key that clients present at their next handshakes.
#[derive(Default)]
pub(crate) struct Presented(Mutex<Option<Arc<Identity>>>);

impl Presented {
    /// Replaces the certificate and key.
    pub(crate) fn set(&self, identity: Identity) {
        *self.0.lock() = Some(Arc::new(identity));
    }
}

/// Makes the connections of a context present this certificate and key.
pub(crate) fn present(context: &SslContext, presented: &'static Presented) {
    let argument = ptr::from_ref(presented).cast_mut().cast();
    // SAFETY: the context is alive, and the argument lives as long as the process. librdkafka may be opening a connection on
    // another thread, which copies the callback and then its argument: if it sees none or only one of them, the connection
    // presents the certificate that the client has just read.
    unsafe { SSL_CTX_set_cert_cb(context.as_ptr(), Some(set_certificate), argument) };
}

/// Sets the certificate of a connection. OpenSSL calls it when a broker asks for a certificate. Returns 1 for success.
unsafe extern "C" fn set_certificate(ssl: *mut SSL, argument: *mut c_void) -> c_int {
    // SAFETY: the argument is null or a `Presented` that lives as long as the process.
    let presented: Option<&Presented> = unsafe { argument.cast::<Presented>().as_ref() };
    let Some(identity) = presented.and_then(|presented| presented.0.lock().clone()) else {
        return 1;
    };
    let Ok(mut chain) = Stack::new() else {
        return 0;
    };
    for authority in &identity.chain {
        if chain.push(authority.clone()).is_err() {
            return 0;
        }
    }
    // SAFETY: OpenSSL passes a connection that is alive. It takes references of its own to the certificate, the key and the
    // chain, which are alive during the call.
    unsafe {
        SSL_use_cert_and_key(
            ssl,
            identity.certificate.as_ptr(),
            identity.key.as_ptr(),
            chain.as_ptr(),
            1,
        )
    }
}

/// Makes the connections of a context trust these authorities, too.
pub(crate) fn trust(context: &SslContext, authorities: &[X509]) {
    // SAFETY: the context is alive, and owns its store.
    let store = unsafe { SSL_CTX_get_cert_store(context.as_ptr()) };
    if store.is_null() {
        return;
    }
    for authority in authorities {
        // SAFETY: the store is alive as long as the context. It may be changed from any thread and takes a reference of its own
        // to the certificate. A certificate that it has already changes nothing.
        unsafe { X509_STORE_add_cert(store, authority.as_ptr()) };
    }
}
