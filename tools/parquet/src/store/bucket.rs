//! Files in a bucket behind the protocol of S3. A large file goes in parts, which the server joins at its end.

use super::Reach;
use crate::credentials::Credentials;
use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt as _, RetryConfig};
use std::error::Error as _;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A request that takes longer has failed.
const REQUEST_MAX: Duration = Duration::from_secs(30);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Larger files go in parts of this size; a server may refuse smaller parts than 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// A bucket that takes files.
#[derive(Debug)]
pub struct Bucket {
    client: AmazonS3,
    prefix: String,
    runtime: Runtime,
}

impl Bucket {
    /// A bucket, and what comes before each path in it.
    ///
    /// # Errors
    ///
    /// The settings do not fit each other.
    pub fn open(
        name: &str,
        prefix: &str,
        reach: &Reach,
        credentials: &Credentials,
    ) -> Result<Self, String> {
        // Retries are the caller's: it spreads them over a fleet.
        let retry = RetryConfig {
            max_retries: 0,
            retry_timeout: REQUEST_MAX,
            ..RetryConfig::default()
        };
        let options = ClientOptions::new()
            .with_timeout(REQUEST_MAX)
            .with_connect_timeout(CONNECT_MAX)
            .with_allow_http(reach.allow_http);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_client_options(options)
            .with_allow_http(reach.allow_http)
            .with_retry(retry);
        for (key, value) in credentials.settings() {
            let key = key.parse().map_err(|_| format!("no such setting: {key}"))?;
            builder = builder.with_config(key, value);
        }
        if let Some(endpoint) = &reach.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build();
        Ok(Self {
            client,
            prefix: prefix.to_owned(),
            runtime: runtime.map_err(|error| error.to_string())?,
        })
    }

    /// Puts a file there.
    ///
    /// # Errors
    ///
    /// What the server or the network said.
    pub fn put(&self, path: &str, file: Bytes) -> Result<(), String> {
        let key = match self.prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        // Parsed, not made of parts: the sign `=` of partitions stays as it is.
        let key = Path::parse(&key).map_err(|error| error.to_string())?;
        let put = async {
            match file.len() > PART_BYTES {
                true => self.put_in_parts(&key, file).await,
                false => self.client.put(&key, file.into()).await.map(drop),
            }
        };
        self.runtime.block_on(put).map_err(|error| {
            let mut said = error.to_string();
            let mut cause = error.source();
            // Of a connection that fails, the reason is the last cause.
            while let Some(next) = cause {
                let more = next.to_string();
                if !said.contains(&more) {
                    said += ": ";
                    said += &more;
                }
                cause = next.source();
            }
            said
        })
    }

    async fn put_in_parts(&self, key: &Path, mut file: Bytes) -> object_store::Result<()> {
        let mut upload = self.client.put_multipart(key).await?;
        let mut result = Ok(());
        while result.is_ok() && !file.is_empty() {
            let part = file.split_to(PART_BYTES.min(file.len()));
            result = upload.put_part(part.into()).await;
        }
        if result.is_ok() {
            result = upload.complete().await.map(drop);
        }
        if result.is_err() {
            // Parts that stay would cost money. A server that is away cannot be told: its own rules remove them.
            let _ = upload.abort().await;
        }
        result
    }
}
