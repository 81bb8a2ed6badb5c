//! The connection to the collector that receives spans, over http or https.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use parking_lot::Mutex;
use reqwest::Certificate;
use reqwest::blocking::Client;
use tracing::{info, warn};

use crate::exit::UsageError;
use crate::telemetry::TelemetrySettings;

/// How long a request to the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client that logs when the collector cannot be reached, once, and when it can be again.
#[derive(Debug)]
pub(crate) struct Collector {
    client: Client,
    endpoint: String,
    is_failing: Mutex<bool>,
}

impl Collector {
    /// Returns a client for this endpoint. It trusts the authorities in the file of the settings or, without one, the system's.
    ///
    /// # Errors
    /// [`UsageError`] if the file cannot be used.
    pub(crate) fn new(settings: &TelemetrySettings, endpoint: &str) -> anyhow::Result<Self> {
        let authorities = match settings.otlp_ca.as_str() {
            "" => None,
            file => Some(authorities(Path::new(file)).map_err(UsageError::from)?),
        };
        Ok(Self {
            client: client(authorities)?,
            endpoint: endpoint.to_owned(),
            is_failing: Mutex::new(false),
        })
    }

    /// Notes the outcome of a request.
    fn note(&self, problem: Option<String>) {
        let mut is_failing = self.is_failing.lock();
        let endpoint = &self.endpoint;
        match &problem {
            Some(problem) if !*is_failing => warn!(
                "cannot export traces to {endpoint}: {problem}; the service continues without them until the collector \
                 accepts them"
            ),
            None if *is_failing => info!("traces are exported to {endpoint} again"),
            _ => {}
        }
        *is_failing = problem.is_some();
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.client.send_bytes(request).await;
        self.note(match &response {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers with status {}", response.status())),
            Err(error) => Some(problem(error.as_ref())),
        });
        response
    }
}

/// Returns the certificates in a file.
fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let context = || format!("telemetry.otlp_ca: cannot use {}", file.display());
    let pem = fs::read(file).with_context(context)?;
    let certificates = Certificate::from_pem_bundle(&pem).with_context(context)?;
    ensure!(
        !certificates.is_empty(),
        "{}: it has no certificate in PEM format",
        context()
    );
    Ok(certificates)
}

/// Returns a client that trusts these authorities; `None` stands for the system's.
fn client(authorities: Option<Vec<Certificate>>) -> anyhow::Result<Client> {
    let build = || {
        let builder = Client::builder().timeout(TIMEOUT);
        match authorities {
            Some(authorities) => builder.tls_certs_only(authorities),
            None => builder,
        }
        .build()
    };
    // The client starts a runtime of its own, which it must not do on a thread of another one.
    let built = thread::scope(|scope| scope.spawn(build).join());
    built
        .map_err(|_| anyhow!("the thread panicked"))
        .and_then(|built| Ok(built?))
        .context("telemetry.otlp_endpoint: cannot create a client")
}

/// Describes why a request failed: by its first cause, which names the reason.
fn problem(error: &(dyn Error + 'static)) -> String {
    let (mut causes, mut cause) = (vec![error.to_string()], error);
    while let Some(source) = cause.source() {
        causes.push(source.to_string());
        cause = source;
    }
    let unverified = |cause: &&String| cause.contains("certificate verify failed");
    if let Some(text) = causes.iter().find(unverified) {
        let reason = text.rsplit_once('(').map_or("", |(_, reason)| reason);
        let separator = if reason.is_empty() { "" } else { ", " };
        return format!(
            "its certificate cannot be verified{separator}{}: set telemetry.otlp_ca to a file with its authority",
            reason.trim_end_matches(')')
        );
    }
    causes.into_iter().next_back().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn settings(file: &Path) -> TelemetrySettings {
        TelemetrySettings {
            otlp_ca: file.display().to_string(),
            ..TelemetrySettings::default()
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let refused = || {
            let refused = Collector::new(&settings(&file), "https://collector").unwrap_err();
            assert!(refused.is::<UsageError>());
            format!("{refused:#}")
        };
        let start = format!("telemetry.otlp_ca: cannot use {}: ", file.display());
        assert!(refused().starts_with(&format!("{start}No such file")));
        fs::write(&file, "no PEM").unwrap();
        assert_eq!(
            refused(),
            format!("{start}it has no certificate in PEM format")
        );
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&file, broken).unwrap();
        assert!(refused().starts_with(&start));
    }

    #[test]
    fn the_first_cause_is_named() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(problem(&refused), "connection refused");
        let unverified = io::Error::other(
            "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/\
             statem_clnt.c:1889: (self-signed certificate in certificate chain)",
        );
        assert_eq!(
            problem(&unverified),
            "its certificate cannot be verified, self-signed certificate in certificate chain: set telemetry.otlp_ca to a \
             file with its authority"
        );
    }
}
